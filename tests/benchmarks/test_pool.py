"""Measurements on several processes: the rows of one process, in the same order, saved one by one."""

import os
from dataclasses import replace

import pytest

from benchmarks.pool import fill, processes
from benchmarks.rows import Rows
from benchmarks.runs import Run, measure, row_key
from minilora.errors import MiniloraError

TINY = Run("style-json", "q,v", 2, 1e-2, steps=2, batch=2)
TASKS = [({"n": n}, ([("square", n * n)],), f"{n}") for n in (5, 2, 9, 2, 7)]  # 2 is asked for twice


@pytest.fixture
def store(tmp_path):
    return Rows(tmp_path / "rows.json")


def seen_by(store, each, tasks=TASKS, function=dict):
    steps = []
    fill(store, function, tasks, each, lambda new, what: steps.append((new, what)))
    return steps


def test_rows_are_saved_in_the_order_of_the_tasks_and_none_is_measured_twice(store):
    with processes(1) as each:
        steps = seen_by(store, each)
    assert store.rows == [{"n": n, "square": n * n} for n in (5, 2, 9, 7)]
    assert steps == [(True, "5"), (True, "2"), (True, "9"), (False, "2"), (True, "7")]


@pytest.mark.slow
def test_several_processes_save_the_same_rows_in_the_same_order(store, tmp_path):
    with processes(3) as each:
        seen_by(store, each)
    again = Rows(tmp_path / "again.json")
    with processes(1) as each:
        seen_by(again, each)
    assert store.rows == again.rows and store.part.read_bytes() == again.part.read_bytes()


@pytest.mark.slow
def test_trainings_on_two_processes_give_the_numbers_of_one(tmp_path):
    runs = [replace(TINY, seed=seed) for seed in range(3)]
    tasks = [(row_key(run, True), (run, True), "") for run in runs]
    stores = {n: Rows(tmp_path / f"{n}.json") for n in (1, 2)}
    for workers, store in stores.items():
        with processes(workers) as each:
            fill(store, measure, tasks, each, lambda new, what: None)
    assert stores[1].rows == stores[2].rows and len(stores[1].rows) == 3


def test_what_is_saved_is_not_measured_again(store):
    store.add({"n": 9, "square": -1})
    with processes(1) as each:
        seen_by(store, each)
    assert [row["square"] for row in store.rows] == [-1, 25, 4, 49]


@pytest.mark.slow
def test_a_killed_process_is_one_line_and_keeps_the_saved_rows(store):
    store.add({"n": 5, "square": 25})
    with pytest.raises(MiniloraError, match="a process was killed"), processes(2) as each:
        seen_by(store, each, [({"n": 1}, (1,), "")], os._exit)
    assert store.rows == [{"n": 5, "square": 25}] and store.part.is_file()


@pytest.mark.slow
def test_numpys_threads_are_divided_among_the_processes_unless_they_are_set(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for given, expected in ((None, "2"), ("5", "5")):
        monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
        if given:
            monkeypatch.setenv("OPENBLAS_NUM_THREADS", given)
        with processes(4) as each:
            assert list(each(os.getenv, ["OPENBLAS_NUM_THREADS"])) == [expected]
        assert os.environ.get("OPENBLAS_NUM_THREADS") == given
