"""The paper's experiments in small: what they compute, that they go on where they stopped, and that page, figures and
files say the same."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmarks import paper, running
from benchmarks.drawings import table
from benchmarks.experiments import (
    EXPERIMENTS,
    SEEDS,
    Setting,
    batch_size,
    best_rate,
    final_runs,
    tuning_runs,
    which_layers,
    which_matrices,
)  # fmt: skip
from benchmarks.paper import main, report, with_table
from benchmarks.runs import Run, build, measure, parameters, row_key, training_examples
from benchmarks.subspaces import amplification
from minilora.course.lab.low_rank import similarity
from minilora.errors import MiniloraError

ROOT = Path(__file__).parents[2]
SETTINGS_OF = dict(running.SETTINGS)

TINY = Run("style-json", "q,v", 3, 1e-2, steps=2, batch=2)
SETTINGS = [Setting("small", None, replace(TINY, r=1), (1e-3, 1e-2)), Setting("one rate", None, TINY, (1e-2,))]


@pytest.fixture
def store(tmp_path):
    return running.results("tiny", tmp_path)


@pytest.fixture
def measured(monkeypatch):
    """The runs that `run_experiment` measures, without any training; the validation loss is the learning rate."""
    seen = []

    def measure(run, tuning):
        seen.append((run, tuning))
        return {"valid_loss": run.lr} if tuning else {"test_loss": 0.5, "score": 0.25}

    monkeypatch.setattr(running, "measure", measure)
    return seen


# ---- a run


@pytest.mark.slow
def test_a_run_gives_the_same_numbers_again():
    assert measure(TINY) == measure(TINY)


@pytest.mark.slow
def test_another_seed_gives_another_loss():
    assert measure(TINY)["test_loss"] != measure(replace(TINY, seed=1))["test_loss"]


def test_a_tuning_run_never_looks_at_the_test_split():
    assert measure(TINY, tuning=True).keys() == {"valid_loss"}
    assert measure(replace(TINY, examples=3), tuning=True).keys() == {"train_loss"}


def test_a_training_that_overflows_is_a_row_without_numbers():
    assert measure(replace(TINY, targets="full", lr=1e38, steps=12), tuning=True) == {"valid_loss": None}


def test_full_fine_tuning_trains_every_parameter():
    run = replace(TINY, targets="full")
    model = build(run)
    assert all(p.requires_grad for p in model.parameters())
    assert parameters(run) == sum(p.size for p in model.parameters())


def test_a_small_set_of_examples_is_part_of_a_larger():
    small, large = (training_examples(replace(TINY, examples=n)) for n in (5, 9))
    assert len(small) == 5 and small == large[:5]


# ---- the settings


@pytest.mark.parametrize(
    ("settings", "share"), [(which_matrices(), 0.04), (which_layers()[:3], 0.02), (which_layers()[3:], 0.03)]
)
def test_settings_of_one_budget_train_equally_many_parameters(settings, share):
    counts = [parameters(setting.run) for setting in settings]
    assert max(counts) <= (1 + share) * min(counts)


def test_every_batch_size_sees_equally_many_examples():
    assert {setting.run.batch * setting.run.steps for setting in batch_size()} == {960}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_no_two_settings_are_the_same(name):
    settings = EXPERIMENTS[name]()
    assert len({(setting.run, setting.rates) for setting in settings}) == len(settings)


# ---- running


def test_every_setting_is_measured_with_every_seed_at_its_best_learning_rate(store, measured):
    running.run_experiment(SETTINGS, store)
    final = [(run.r, run.lr, run.seed) for run, tuning in measured if not tuning]
    assert sorted(final) == sorted([(1, 1e-3, s) for s in SEEDS] + [(3, 1e-2, s) for s in SEEDS])


def test_an_interrupted_run_goes_on_and_measures_nothing_twice(tmp_path, store, measured, monkeypatch):
    whole = running.measure

    def interrupted(run, tuning):
        if len(measured) == 5:
            raise KeyboardInterrupt
        return whole(run, tuning)

    monkeypatch.setattr(running, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        running.run_experiment(SETTINGS, store)
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.part"]  # who reads tiny.json finds a whole one or none
    monkeypatch.setattr(running, "measure", whole)
    running.run_experiment(SETTINGS, running.results("tiny", tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.json"]
    assert len(measured) == len(set(measured)) == sum(len(tuning_runs(s)) + len(SEEDS) for s in SETTINGS)


def test_a_learning_rate_that_overflowed_is_not_chosen(store):
    for run, loss in zip(tuning_runs(SETTINGS[0]), (0.7, None), strict=True):
        store.add(row_key(run, tuning=True) | {"valid_loss": loss})
    assert best_rate(SETTINGS[0], store) == 1e-3


def test_no_learning_rate_is_chosen_before_all_were_tried(store):
    store.add(row_key(tuning_runs(SETTINGS[0])[0], tuning=True) | {"valid_loss": 0.7})
    assert best_rate(SETTINGS[0], store) is None and final_runs(SETTINGS[0], store) == []


def test_rows_of_another_base_are_refused(tmp_path, store):
    store.add(row_key(TINY) | {"score": 1.0})
    text = store.part.read_text(encoding="utf-8").replace(store.made_by["base"], "0" * 16)
    store.part.write_text(text, encoding="utf-8")
    with pytest.raises(MiniloraError, match="another base"):
        running.results("tiny", tmp_path)


def test_an_unknown_experiment_is_one_line_that_names_the_nearest():
    done = CliRunner().invoke(main, ["ranks"])
    assert done.exit_code == 2 and done.output.count("\n") == 1 and "there are: rank" in done.output


@pytest.fixture
def tiny(tmp_path, monkeypatch, measured):
    """The command with one experiment, `tiny`, whose results, figure and page are in tmp_path."""
    monkeypatch.setitem(running.SETTINGS, "tiny", lambda: SETTINGS)
    monkeypatch.setattr(paper, "NAMES", ("tiny",))
    monkeypatch.setattr(paper, "HERE", tmp_path)
    monkeypatch.setattr(paper, "PAGES", {"PAPER.md": ("tiny",)})
    monkeypatch.setattr(paper, "results", lambda name: running.results(name, tmp_path))
    text = "Before.\n<!-- table tiny -->\n<!-- end -->\nAfter.\n"
    paper.page_of("tiny").write_text(text, encoding="utf-8")
    return lambda: CliRunner().invoke(main, ["tiny"])


@pytest.mark.slow
def test_the_command_draws_the_figure_and_puts_the_table_into_the_page(tiny):
    assert tiny().exit_code == 0
    page = paper.page_of("tiny").read_text(encoding="utf-8")
    assert page.startswith("Before.") and page.endswith("After.\n")
    assert "| small | 1,792 | 0.001 | 0.250 ± 0.000 | 0.5000 ± 0.0000 |" in page
    assert (paper.HERE / "figures" / "tiny.png").read_bytes().startswith(b"\x89PNG")


def test_a_finished_experiment_measures_nothing_and_gives_the_same_page(tiny, measured):
    tiny()
    page, count = paper.page_of("tiny").read_bytes(), len(measured)
    tiny()
    assert (paper.page_of("tiny").read_bytes(), len(measured)) == (page, count)


def test_ctrl_c_says_how_to_go_on(tiny, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "measure", interrupted)
    done = tiny()
    assert done.exit_code == 130 and "the same command goes on" in done.output


def test_seeds_that_overflowed_are_said_in_the_table_and_left_out_of_the_mean(store):
    for seed in SEEDS:
        lost = seed == 0
        measures = {"test_loss": None if lost else 0.5, "score": None if lost else 0.25}
        store.add(row_key(replace(TINY, seed=seed)) | measures)
    assert "0.250 ± 0.000 (4 seeds)" in table("tiny", SETTINGS[1:], store)


# ---- section 7


def test_the_same_directions_in_another_basis_are_wholly_similar():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((3, 11))
    assert similarity(A, rng.standard_normal((3, 3)) @ A, 8)[2, 2] == pytest.approx(1)


def test_orthogonal_directions_have_nothing_in_common():
    assert similarity(np.eye(3, 11), np.eye(3, 11, k=5), 8) == pytest.approx(np.zeros((3, 3)))


matrix = arrays(np.float64, st.tuples(st.integers(2, 5), st.just(7)), elements=st.floats(-9, 9, width=16))


@given(matrix, matrix)
@hypothesis_settings(deadline=None)
def test_similarity_is_a_share_and_does_not_depend_on_the_order(A1, A2):
    found = similarity(A1, A2, 4)
    assert found.shape == (min(4, len(A1)), min(4, len(A2)))
    assert found.min() >= -1e-9 and found.max() <= 1 + 1e-9
    assert similarity(A2, A1, 4) == pytest.approx(found.T)


def test_an_update_along_one_direction_is_compared_with_that_direction_of_w():
    W = np.diag([5.0, 2.0, 0.5])
    D = np.zeros((3, 3))
    D[1, 1] = 6.0
    found = amplification(W, D, 1, np.random.default_rng(0))
    assert (found["inside"], found["top"], found["factor"]) == pytest.approx((2, 5, 3))


# ---- what is committed


def page_text(name):
    return paper.page_of(name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SETTINGS_OF)
def test_the_results_hold_every_run_of_the_experiment_and_no_other(name):
    store = running.results(name)
    settings = SETTINGS_OF[name]()
    wanted = [row_key(run, tuning=True) for s in settings for run in tuning_runs(s)]
    wanted += [row_key(run) for s in settings for run in final_runs(s, store)]
    assert len(store.rows) == len(wanted) == sum(len(tuning_runs(s)) + len(SEEDS) for s in settings)
    assert all(store.find(run) for run in wanted)


@pytest.mark.parametrize("name", SETTINGS_OF)
def test_no_chosen_learning_rate_is_the_first_or_the_last_of_those_tried(name):
    store = running.results(name)
    for setting in SETTINGS_OF[name]():
        if len(setting.rates) > 1:
            assert min(setting.rates) < best_rate(setting, store) < max(setting.rates), setting


def test_the_subspaces_of_every_seed_are_there():
    assert [row["seed"] for row in running.results("subspaces").rows] == list(SEEDS)


@pytest.mark.parametrize("name", running.NAMES)
def test_the_table_of_the_page_is_that_of_the_results(name):
    page = page_text(name)
    assert with_table(page, name, report(name, running.results(name))) == page
    assert f"<!-- table {name} -->\n\n|" in page


@pytest.mark.parametrize("name", running.NAMES)
def test_the_results_name_their_command_seeds_and_versions(name):
    found = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))["made_by"]
    assert found["command"] == f"python -m benchmarks.paper {name}"
    assert found["seeds"] == list(SEEDS) and found["versions"].keys() == {"minilora", "numpy", "python"}


def test_every_figure_of_the_pages_exists_and_every_experiment_has_one():
    for page in paper.PAGES:
        text = (ROOT / "benchmarks" / page).read_text(encoding="utf-8")
        shown = set(re.findall(r"\]\((figures/[^)]+)\)", text))
        names = [name for name in running.NAMES if paper.page_of(name).name == page]
        assert shown == {f"figures/{file}.png" for name in names for file in paper.figures_of(name)}
        assert all((ROOT / "benchmarks" / figure).is_file() for figure in shown)
