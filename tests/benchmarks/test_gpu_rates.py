"""The rates of a card, rehearsed on the stand-in, and the timing that every measurement uses."""

import pytest

pytest.importorskip("torch")

from benchmarks.gpu import device, rates

pytestmark = pytest.mark.reference


def test_every_rate_is_measured(card):
    (row,) = rates.measure(square=64, mib=1, calls=10)
    assert all(value > 0 for value in row.values())
    assert len(rates.row(row)) == len(rates.RATES.head)
    assert [compute_type for _, compute_type in card.compute_types] == [1, 7, 1]  # float32, TF32, float16


def test_a_rate_counts_the_operations_of_the_product(card, monkeypatch):
    monkeypatch.setattr(rates, "seconds_of", lambda function, calls: 2.0)
    assert rates.matrix_rate("float16", 16) == 16**3
    found = rates.copy_rates(mib=3)
    assert found["pinned"] == found["pageable"] == 3 * 2**20 / 2 and found["device_copy"] == 3 * 2**20


def test_sides_are_timed_in_turns_between_two_waits(card):
    done = []
    times = device.in_turns({"a": lambda: done.append("a"), "b": lambda: done.append("b")}, seconds=0, warm=1, least=3)
    assert done == ["a", "b"] * 4
    assert [len(t) for t in times.values()] == [3, 3]
    assert card.synchronized == 2 * 2 * 3


def test_the_time_of_several_calls_in_a_turn_is_that_of_one(card, monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(device.time, "perf_counter", lambda: next(clock))
    done = []
    times = device.in_turns({"a": lambda: done.append("a")}, seconds=0, warm=0, least=2, calls=5)
    assert len(done) == 10 and times["a"].tolist() == [0.2, 0.2]


def test_the_peak_of_memory_is_what_was_in_use_before_and_what_a_call_took_at_most(card):
    card.bytes = 7 << 20
    assert device.peak_here(lambda: None) == (7 + 3) << 20


def test_a_row_says_on_what_it_was_measured(card):
    about = device.described()
    assert about["card"] == "a stand-in" and about["versions"]["cupy"] == "14.2.0"
    assert set(about["versions"]) >= {"minilora", "numpy", "torch", "transformers", "peft", "python"}
