"""The experiments with bases in fewer bits: page, figures and results say the same, and what was found holds."""

from statistics import mean

import pytest

from benchmarks.experiments import SEEDS
from benchmarks.paper import with_table
from benchmarks.quantization import results
from benchmarks.quantization_page import FIGURES, PAGE, TABLES, recovery_rows, rows_of
from benchmarks.quantization_runs import (
    COUNT,
    DOUBLE,
    LABELS,
    RANKS,
    RECOVERED,
    SETTINGS,
    TASKS,
    TEACHER,
    error_cut,
    jobs,
    text_measures,
)


def test_the_page_has_the_tables_of_the_committed_rows_and_the_figures_are_there():
    page = PAGE.read_text(encoding="utf-8")
    for name, table in TABLES.items():
        assert with_table(page, name, table(results())) == page
    assert all((PAGE.parent / "figures" / f"{name}.png").is_file() for name in FIGURES)


def test_every_job_has_a_row():
    store = results()
    assert all(store.find(key) for key, _ in jobs(store))
    assert sum(1 for _ in jobs(store)) == COUNT


@pytest.mark.parametrize("kind", ["nf4", DOUBLE])
def test_nf4_loses_less_of_the_base_than_int4_and_fp4_lose(kind):
    rows = {row["kind"]: row for row in results().rows if row["what"] == "base"}
    for measure in ("loss", "divergence"):
        assert rows["float32"][measure] < rows[kind][measure] < rows["int4"][measure] < rows["fp4"][measure]


def test_quantized_matrices_take_at_most_the_promised_share_of_float32s_bytes():
    shares = {row["format"]: row["bytes"] for row in results().rows if row["what"] == "format"}
    assert shares["nf4"] <= 0.142 and shares["nf4, double"] <= 0.130 and shares["int8"] < 0.26 and shares["bf16"] == 0.5


def test_a_qlora_step_takes_at_most_1_10_times_a_lora_step():
    steps = {row["format"]: row["step"] for row in results().rows if row["what"] == "format"}
    assert max(steps.values()) <= 1.10


def test_the_cut_of_the_error_by_pissa_grows_with_the_rank_in_every_matrix():
    rows = {row["r"]: row["cut"] for row in results().rows if row["what"] == "error"}
    assert tuple(rows) == RANKS
    for path in rows[1]:
        cuts = [rows[r][path] for r in RANKS]
        assert cuts == sorted(cuts) and cuts[0] > 0


@pytest.mark.parametrize("task", TASKS)
def test_every_setting_has_the_rows_of_all_seeds(task):
    assert all(len(rows_of(results(), task, kind, start)) == len(SEEDS) for kind, start in SETTINGS)


@pytest.mark.parametrize(("kind", "start", "learns"), RECOVERED)
def test_training_takes_back_a_part_of_the_error_with_every_seed(kind, start, learns):
    rows = recovery_rows(results(), kind, start, learns)
    assert len(rows) == len(SEEDS) and all(row["divergence"] < row["divergence before"] for row in rows)
    assert mean(row["loss"] for row in rows) < rows[0]["loss before"]


def test_the_teacher_gives_back_more_of_the_divergence_than_the_text_alone():
    after = {}
    for learns in (TEACHER, LABELS):
        after[learns] = [row["divergence"] for row in recovery_rows(results(), DOUBLE, "lora", learns)]
    assert max(after[TEACHER]) < min(after[LABELS])


@pytest.mark.slow
def test_rows_are_measured_again_to_the_same_numbers():
    store = results()
    found, again = store.find({"what": "base", "kind": "int4"}), text_measures("int4")
    assert again["loss"] == pytest.approx(found["loss"], abs=1e-4)
    cuts, again = store.find({"what": "error", "r": 4})["cut"], error_cut(4)["cut"]
    assert again == pytest.approx(cuts, abs=0.05)
