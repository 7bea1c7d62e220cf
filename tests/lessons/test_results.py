"""The replayed sweeps: made by a committed script, on the base that ships, with the seeds they name."""

import ast
import json
from pathlib import Path
from statistics import mean

import pytest

from minilora.files.shipped import base_digest

LESSONS = Path(__file__).parents[2] / "lessons"
RESULTS = sorted((LESSONS / "results").glob("*.json"))
each = pytest.mark.parametrize("path", RESULTS, ids=lambda p: p.stem)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@each
def test_the_command_that_made_a_result_is_there(path):
    made = read(path)["made_by"]
    assert made["command"] == f"python -m lessons.sweeps.{path.stem}"
    assert (LESSONS / "sweeps" / f"{path.stem}.py").is_file()
    assert made["seconds"] > 0 and made["versions"].keys() == {"minilora", "numpy", "python"}


@each
def test_a_result_is_of_the_base_that_ships(path):
    assert read(path)["made_by"]["base"] == base_digest(), "run the sweep again: the base has changed"


@each
def test_a_result_has_every_seed_that_its_script_names(path):
    tree = ast.parse((LESSONS / "sweeps" / f"{path.stem}.py").read_text(encoding="utf-8"))
    assigned = {t.id: v for node in tree.body if isinstance(node, ast.Assign) for t, v in _pairs(node)}
    seeds = list(ast.literal_eval(assigned["SEEDS"]))
    made = read(path)
    assert made["made_by"]["seeds"] == seeds
    assert {row["seed"] for row in made["rows"]} == set(seeds)


def _pairs(node):  # of an assignment, also of a, b = 1, 2
    target, value = node.targets[0], node.value
    if isinstance(target, ast.Tuple):
        return list(zip(target.elts, value.elts, strict=True))
    return [(target, value)] if isinstance(target, ast.Name) else []


@each
def test_a_lesson_replays_the_result(path):
    sources = "".join(p.read_text(encoding="utf-8") for p in LESSONS.glob("[0-9][0-9]_*.py"))
    assert f'replay("{path.stem}")' in sources


def test_lesson_5_states_the_losses_and_scores_of_its_result():
    rows = read(LESSONS / "results" / "lora_and_full.json")["rows"]

    def best(method):  # -> score and loss on base text at the rate with the highest mean score
        rates = {row["lr"] for row in rows if row["method"] == method}
        runs = [[row for row in rows if (row["method"], row["lr"]) == (method, lr)] for lr in rates]
        means = [tuple(mean(row[key] for row in run) for key in ("score", "corpus_loss")) for run in runs]
        return max(means)

    text = " ".join((LESSONS / "06_freeze_w_train_b_and_a.py").read_text(encoding="utf-8").replace("\n# ", " ").split())
    (lora_score, lora_loss), (full_score, full_loss) = best("lora"), best("full")
    assert f"loss on base text {lora_loss:.2f} against {full_loss:.2f}" in text
    assert f"the scores are close ({lora_score:.2f} and {full_score:.2f})" in text


def test_every_sweep_has_its_result():
    scripts = {p.stem for p in (LESSONS / "sweeps").glob("*.py")} - {"common"}
    assert scripts == {p.stem for p in RESULTS}
