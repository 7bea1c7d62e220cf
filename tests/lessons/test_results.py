"""The replayed sweeps: made by a committed script, on the base that ships, with the seeds they name."""

import ast
import json
from pathlib import Path
from statistics import mean

import numpy as np
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


def rows_of(name, **wanted):
    rows = read(LESSONS / "results" / f"{name}.json")["rows"]
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def test_lesson_6_chooses_a_rate_on_valid_and_finds_that_lora_forgets_more_at_the_same_score():
    def curve(method):  # -> [(score, loss on base text, valid)], means over the seeds, one for each rate
        rates = sorted({row["lr"] for row in rows_of("lora_and_full", method=method)})
        runs = [rows_of("lora_and_full", method=method, lr=lr) for lr in rates]
        return [tuple(mean(row[key] for row in run) for key in ("score", "corpus_loss", "valid")) for run in runs]

    full, lora = curve("full"), curve("lora")
    rising = full[: full.index(max(full)) + 1]  # beyond its best rate a method only loses
    shared = [point for point in lora if rising[0][0] <= point[0] <= rising[-1][0]]
    assert len(shared) >= 4
    for score, forgotten, _ in shared:
        assert np.interp(score, [p[0] for p in rising], [p[1] for p in rising]) < forgotten
    for method in (full, lora):
        assert max(method, key=lambda point: point[2])[0] > 0.94


def test_the_controls_of_lesson_6_answer_nothing():
    for control in ("random labels", "random adapter"):
        assert max(row["score"] for row in rows_of("lora_and_full", method=control)) < 0.05


SETS = {"q": 7, "k": 10, "v": 10, "o": 7, "q,k": 4, "q,v": 4, "q,k,v,o": 2, "gate": 4, "down": 4}  # ranks in 8,000


def losses(names, steps):
    found = rows_of("which_matrices", task="sql", targets=names, r=SETS[names], steps=steps)
    assert len(found) == 5
    return [row["loss"] for row in found]


@pytest.mark.parametrize("steps", [60, 300])
def test_lesson_9_the_order_of_the_matrices(steps):
    means = {names: mean(losses(names, steps)) for names in SETS}
    assert sorted(means, key=means.get)[-2:] in (["q", "k"], ["k", "q"])
    assert min(means, key=means.get) == "q,k,v,o"
    assert means["q,v"] < means["q,k"]


def test_lesson_9_more_steps_help_every_choice():
    assert all(max(losses(names, 300)) < min(losses(names, 60)) for names in SETS)


def test_lesson_9_the_mlp_is_ahead_of_single_attention_matrices_at_first():
    single = [loss for names in "qkvo" for loss in losses(names, 60)]
    assert max(losses("gate", 60) + losses("down", 60)) < min(single)


def test_lesson_9_q_and_v_together_overtake_the_mlp():
    def ahead(steps):
        return mean(losses("q,v", steps)) < min(mean(losses("gate", steps)), mean(losses("down", steps)))

    assert [ahead(60), ahead(300)] == [False, True]
    assert mean(losses("q,v", 60)) < min(mean(losses(names, 60)) for names in "qkvo")
    assert mean(losses("q,k", 60)) > max(mean(losses(names, 60)) for names in "vo")
    assert min(losses("o", 300)) < max(losses("gate", 300) + losses("down", 300))


def test_every_sweep_has_its_result():
    scripts = {p.stem for p in (LESSONS / "sweeps").glob("*.py")} - {"common"}
    assert scripts == {p.stem for p in RESULTS}
