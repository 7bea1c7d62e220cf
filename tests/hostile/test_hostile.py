"""Thousands of hostile cases in forks, and the judge that says which break the rule.

`python -m tests.hostile` runs more of them, and one of them again.
"""

import itertools
import os
import random
import signal
import time
from collections import Counter

import click
import numpy as np
import pytest

from minilora.cli import COMMANDS, cli
from tests.hostile import options, sound, worker
from tests.hostile.case import TURNS, Case, build, generators

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="cases run in forks")
CASES = 5000
MINUTES = 25  # of the clock, on a busy machine; two free cores need about five
SEED = 0


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    sound.make(folder)
    worker.warm_up(folder)
    return folder


@pytest.mark.slow
def test_no_case_breaks_the_rule(good):
    from tests.hostile.__main__ import outcomes

    began, found = time.monotonic(), []
    seen = Counter()
    for outcome in outcomes(SEED, range(CASES), good, os.cpu_count() or 1, began + 60 * MINUTES):
        seen[outcome.kind, outcome.code == 0] += 1
        if outcome.fault:
            found.append(f"--replay {outcome.number}: {outcome.kind}, {outcome.fault}, {' '.join(outcome.argv)[:100]}")
    assert found == [], f"python -m tests.hostile --seed {SEED} --replay NUMBER"
    assert sum(seen.values()) == CASES, "the time was too short"
    assert set(seen) == {(kind, succeeded) for kind in TURNS for succeeded in (True, False)}


def test_a_number_always_gives_the_same_case(good, tmp_path):
    for number in range(len(TURNS)):
        made = [tmp_path / f"{number}.{n}" for n in range(2)]
        for folder in made:
            folder.mkdir()
        first, second = (build(SEED, number, folder, good) for folder in made)
        assert (first.argv, first.wrong, first.kind) == (second.argv, second.wrong, second.kind)
        assert worker.snapshot(made[0]).keys() == worker.snapshot(made[1]).keys()


def test_every_kind_has_its_turn():
    assert set(generators()) == set(TURNS)


@pytest.mark.slow
def test_the_options_of_every_command_are_tried(good, tmp_path):
    tried = Counter()
    for number in range(400):
        work = tmp_path / str(number)
        work.mkdir()
        case = Case(number, "options", random.Random(number), work, good)
        options.fill(case)
        tried[next((a for a in case.argv if a in COMMANDS), None)] += 1
    assert set(COMMANDS) - {"serve"} <= set(tried)


def test_a_value_is_found_for_every_parameter_of_every_command():
    rng = random.Random(0)
    for name in COMMANDS:
        for parameter in cli.get_command(click.Context(cli), name).params:
            assert options.sound_value(rng, parameter) is not None and options.odd_value(rng, parameter) is not None


# ---- the judge


def judged(monkeypatch, good, tmp_path, action, **known):
    """What is said of a command that does `action` in the place of minilora. known: fields of the case."""

    def made(seed, number, work, good):
        case = Case(number, "none", random.Random(0), work, good, argv=["train"], **known)
        (work / "input").write_bytes(b"abc")
        return case

    monkeypatch.setattr(worker, "build", made)
    monkeypatch.setattr(worker, "run_command", lambda argv: action())
    return worker.run_case(0, 0, good, tmp_path / "case").fault


def refuse(line="error: no"):
    os.write(2, line.encode() + b"\n")
    return 2


def crash():
    raise ValueError("no")


def forget(name):
    def act():
        with open(name, "w", encoding="utf-8"):  # noqa: PTH123  in the folder of the case
            return refuse()

    return act


def fill_memory():
    try:
        np.ones(2**32)
    except MemoryError:
        return refuse()
    return 0


FAULTS = {
    "a traceback": (crash, "exit code 1"),
    "another exit code": (lambda: 3, "exit code 3"),
    "silence": (lambda: 2, "no error line"),
    "two lines": (lambda: refuse("Bad\nerror: no"), "more than one line"),
    "a long line": (lambda: refuse("error: " + "x" * 300), "a line of 307 characters"),
    "control characters": (lambda: refuse("error: \x1b[31m"), "unprintable"),
    "a warning": (lambda: refuse("a.py:1: RuntimeWarning: overflow\nerror: no"), "Warning:"),
    "a file that it left": (forget("new"), "left behind: new"),
    "an input that it changed": (forget("input"), "changed: input"),
    "a death": (lambda: os.kill(os.getpid(), signal.SIGKILL), "ended by signal 9"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_judge_finds(name, monkeypatch, good, tmp_path):
    action, fault = FAULTS[name]
    assert fault in judged(monkeypatch, good, tmp_path, action)


def test_the_judge_finds_a_success_that_cannot_be_right(monkeypatch, good, tmp_path):
    assert judged(monkeypatch, good, tmp_path, lambda: 0, wrong="nan") == "success in spite of: nan"


def test_the_judge_ends_what_takes_too_long(monkeypatch, good, tmp_path):
    def loop():
        while True:
            pass

    monkeypatch.setattr(worker, "SECONDS", 0.2)
    assert judged(monkeypatch, good, tmp_path, loop).startswith("too long")


@pytest.mark.slow
def test_the_judge_does_not_count_the_time_that_it_was_stopped(monkeypatch, good, tmp_path):
    monkeypatch.setattr(worker, "PATIENCE", 5)
    jumps = itertools.chain([0] * 3, itertools.repeat(100))  # of the clock, while the child sleeps
    looks = time.monotonic
    monkeypatch.setattr(worker.time, "monotonic", lambda: looks() + next(jumps))
    assert judged(monkeypatch, good, tmp_path, lambda: time.sleep(1) or 0) == ""


@pytest.mark.parametrize("action", [refuse, lambda: 0, lambda: refuse("note: so\nerror: no"), fill_memory])
def test_the_judge_is_content(action, monkeypatch, good, tmp_path):
    assert judged(monkeypatch, good, tmp_path, action) == ""
