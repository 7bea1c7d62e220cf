"""The experiment of distillation: page, figure and results say the same, and what was found holds."""

from pathlib import Path

import pytest

from benchmarks.distillation import PAGE, TASKS, WAYS, key_of, measure, results, rows_of, table
from benchmarks.experiments import SEEDS
from benchmarks.paper import with_table

ROOT = Path(__file__).parents[2] / "benchmarks"


def test_the_page_has_the_table_of_the_committed_rows_and_the_figure_is_there():
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page, "distillation", table(results())) == page
    assert (ROOT / "figures" / "distillation.png").is_file()


@pytest.mark.parametrize("task", TASKS)
def test_with_every_seed_students_of_the_teacher_are_better_than_students_of_the_labels(task):
    labels, teacher = (rows_of(task, way, results()) for way in WAYS)
    assert len(labels) == len(teacher) == len(SEEDS)
    assert max(r["test_loss"] for r in teacher) < min(r["test_loss"] for r in labels)
    assert min(r["score"] for r in teacher) > max(r["score"] for r in labels)


@pytest.mark.slow
def test_a_run_is_measured_again_to_the_same_loss():
    """The first of the committed rows of labels, which needs no teacher."""
    row = rows_of("reviews", "labels", results())[0]
    again = measure(key_of("reviews", "labels", row["lr"], row["seed"]))
    assert again["test_loss"] == pytest.approx(row["test_loss"], abs=2e-3)
