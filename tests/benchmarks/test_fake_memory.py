"""What `minilora params` predicts beside the simulated peaks of the libraries (benchmarks/results/fake-memory.json)."""

import pytest

from benchmarks.fake_memory import PAGE, case_of, page, predicted, read_rows, row_bytes, wrong_fits
from benchmarks.memory_cases import PUBLISHED

pytestmark = pytest.mark.slow

ROWS = read_rows()
GIB = 2**30


def name(row):
    case = case_of(row)
    kept = "" if case.recompute else " kept"
    return f"{case.model} {case.method} {case.batch}x{case.length}{kept}"


def test_at_least_40_cases_are_simulated():
    assert len(ROWS) >= 40 and len({row["model"] for row in ROWS}) >= 20


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_a_prediction_is_at_most_2_percent_below_and_15_above_the_peak(row):
    assert -0.02 <= predicted(case_of(row)).peak.bytes / row["peak"] - 1 <= 0.15


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_no_card_is_called_large_enough_on_which_the_peak_and_1_gib_do_not_fit(row):
    assert wrong_fits(row) == []


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row.what)
def test_published_measurements_are_predicted_from_10_percent_below_to_30_above(row):
    assert -0.10 <= row_bytes(row) / GIB / row.gib - 1 <= 0.30


def test_the_page_has_the_tables_of_today():
    text = PAGE.read_text(encoding="utf-8")
    assert page(text, ROWS) == text, "run python -m benchmarks.fake_memory"
