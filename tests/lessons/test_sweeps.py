"""A sweep that was interrupted goes on where it stopped, and never mixes rows of two kinds."""

import json

import pytest

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
