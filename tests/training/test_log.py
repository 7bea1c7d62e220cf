"""history.csv: a line for every step of a training."""

import csv

import pytest
from commands import make_base

from minilora.finetuning import finetune
from minilora.training.log import LOG

PAIRS = [{"prompt": f"apple {i}", "response": "cake"} for i in range(40)]
SHORT = {"examples": PAIRS, "steps": 6, "batch_size": 4, "eval_every": 2, "progress": False, "plot": False}


@pytest.fixture
def base(tmp_path):
    return make_base(tmp_path / "base", spread=1)


def rows(folder):
    with (folder / LOG).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_step_has_a_line_with_what_was_measured_there(base, tmp_path):
    history = finetune(base, out=tmp_path / "out", **SHORT).history
    found = rows(tmp_path / "out")
    assert [row["step"] for row in found] == [str(step) for step in range(7)]
    assert [float(row["loss"]) for row in found[1:]] == history.loss
    assert [float(row["learning_rate"]) for row in found[1:]] == history.lr
    assert [[int(row["step"]), float(row["valid_loss"])] for row in found if row["valid_loss"]] == history.valid
    assert [[int(row["step"]), float(row["grad_norm"])] for row in found if row["grad_norm"]] == history.norm


def test_a_run_that_goes_on_has_the_lines_of_both_parts_once(base, tmp_path):
    settings = SHORT | {"out": tmp_path / "out", "schedule": "constant"}
    finetune(base, **settings | {"steps": 4})
    finetune(base, resume=True, **settings)
    assert [row["step"] for row in rows(tmp_path / "out")] == [str(step) for step in range(7)]
