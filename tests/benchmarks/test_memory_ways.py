"""The table of the memory that each way to train takes. (tests/counting/test_engine.py holds the predictions exactly:
here a thread looks at the memory now and then, which a busy machine may keep from seeing the peak.)"""

from benchmarks import memory_ways
from benchmarks.memory_ways import METHODS, WAYS, predicted, table


def test_the_table_has_a_line_for_each_method_and_way_and_no_chunked_loss_of_torch(monkeypatch):
    monkeypatch.setattr(memory_ways, "measured", lambda *_: 100 * 2**20)
    lines = list(table(["lesson"], "benchmarks.memory"))
    assert len(lines) == 2 + len(METHODS) * len(WAYS)
    assert all(("chunked" in line) == line.endswith("|  |  |  |") for line in lines[2:])
    assert all(line.count("100 MiB") == 2 - ("chunked" in line) for line in lines[2:])


def test_less_is_predicted_with_each_way_that_saves_memory():
    kept, recomputed, chunked, both = (predicted("here", "256", "full", way) for way in WAYS)
    assert both < recomputed < chunked < kept
