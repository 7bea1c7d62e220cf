"""The table of the memory that each way to train takes. (tests/counting/test_engine.py holds the predictions exactly:
here a thread looks at the memory now and then, which a busy machine may keep from seeing the peak.)"""

from pathlib import Path

import pytest

from benchmarks.memory_ways import BASES, WAYS, cases, key_of, predicted, results, table
from benchmarks.paper import with_table

ROOT = Path(__file__).parents[2] / "benchmarks"


def test_the_page_has_the_table_of_the_committed_rows_and_the_figure_is_there():
    page = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
    assert with_table(page, "memory-ways", table(results())) == page
    assert (ROOT / "figures" / "memory-ways.png").is_file()


def test_every_way_is_measured_here_and_those_that_torch_has_there():
    found = cases("lesson")
    assert len([case for case in found if case[0] == "here"]) == 2 * len(WAYS) + 2 * (len(BASES) - 2)
    assert [case for case in found if case[0] == "torch"] == [
        ("torch", "lesson", method, way) for method in ("full", "LoRA", "4-bit + LoRA") for way in WAYS[:2]
    ]
    assert all(results().find(key_of(case)) for size in ("lesson", "256") for case in cases(size))


@pytest.mark.parametrize("row", results().rows, ids=lambda row: " ".join(list(row.values())[:4]))
def test_a_measured_row_is_as_near_to_its_prediction_as_is_promised(row):
    error = predicted(*list(row.values())[:4]) / row["bytes"] - 1
    assert -0.02 <= error <= 0.15 if row["side"] == "torch" else abs(error) <= 0.10


@pytest.mark.parametrize("method", BASES)
def test_less_is_predicted_with_each_way_that_saves_memory(method):
    kept, recomputed, chunked, both = (predicted("here", "256", method, way) for way in WAYS)
    assert both <= recomputed < kept and both <= chunked <= kept
