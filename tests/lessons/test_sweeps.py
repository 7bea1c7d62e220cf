"""A sweep that was interrupted goes on where it stopped, and never mixes rows of two kinds."""

import json

import pytest

from lessons.sweeps import scale
from lessons.sweeps.common import Sweep


@pytest.fixture
def sweep(tmp_path):
    return lambda seeds=(0, 1): Sweep("scale", seeds, tmp_path)


def test_an_interrupted_sweep_has_its_rows(sweep):
    sweep().add({"r": 1, "seed": 0, "loss": 0.123456})
    again = sweep()
    assert again.rows == [{"r": 1, "seed": 0, "loss": 0.12346}]
    assert again.find({"r": 1, "seed": 0}) and not again.find({"r": 1, "seed": 1}) and not again.find({"r": 2})


def test_a_finished_sweep_begins_again(sweep, tmp_path):
    first = sweep()
    first.add({"r": 1, "seed": 0})
    first.finish(more=[1])
    assert not sweep().rows
    written = json.loads((tmp_path / "scale.json").read_text(encoding="utf-8"))
    assert written["rows"] == [{"r": 1, "seed": 0}] and written["more"] == [1] and "script" not in written
    assert [p.name for p in tmp_path.iterdir()] == ["scale.json"]


@pytest.mark.parametrize(
    "change",
    [
        lambda part: part["made_by"].update(base="another"),
        lambda part: part.update(script="another"),
        lambda part: part["made_by"]["versions"].update(numpy="1.0"),
    ],
)
def test_rows_of_another_kind_are_not_kept(sweep, tmp_path, change):
    sweep().add({"r": 1, "seed": 0})
    part = json.loads((tmp_path / "scale.part").read_text(encoding="utf-8"))
    change(part)
    (tmp_path / "scale.part").write_text(json.dumps(part), encoding="utf-8")
    assert not sweep().rows
    assert not sweep(seeds=(0, 1, 2)).rows


def test_the_seconds_of_both_halves_are_added(sweep, tmp_path):
    sweep().add({"r": 1})
    part = json.loads((tmp_path / "scale.part").read_text(encoding="utf-8"))
    part["made_by"]["seconds"] = 1000
    (tmp_path / "scale.part").write_text(json.dumps(part), encoding="utf-8")
    again = sweep()
    again.finish()
    assert json.loads((tmp_path / "scale.json").read_text(encoding="utf-8"))["made_by"]["seconds"] >= 1000


def rows_of(r, seed):
    return [{"r": r, "seed": seed, "half": half} for half in (1, 2)]


def test_what_is_missing_is_measured_in_order_and_the_rest_is_kept(sweep):
    settings = [{"r": r, "seed": seed} for r in (4, 1) for seed in (0, 1)]
    first = sweep()
    first.add({"r": 4, "seed": 1, "half": 0})
    first.measure(rows_of, settings)
    assert [(row["r"], row["seed"], row["half"]) for row in first.rows] == [
        (4, 1, 0), (4, 0, 1), (4, 0, 2), (1, 0, 1), (1, 0, 2), (1, 1, 1), (1, 1, 2)
    ]  # fmt: skip


@pytest.mark.slow
def test_two_processes_measure_the_rows_of_one(tmp_path):
    settings = [{"rank_stabilised": False, "r": 1, "lr": lr, "seed": 0} for lr in (1e-3, 1e30)]
    found = {}
    for workers in (1, 2):
        (tmp_path / str(workers)).mkdir()
        half = Sweep("scale", (0,), tmp_path / str(workers))
        half.measure(scale.rows, settings, workers)
        found[workers] = half.rows
        assert half.seconds_before > 1 or workers == 1  # the CPU time of the other processes counts
    assert found[1] == found[2] and found[1][1]["loss"] is None
