"""Measures the runs that the file of an experiment lacks, one or several at a time, and saves each when it is done."""

import contextlib
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from minilora.display.progress import new_bar

from .error_cut import RANKS, cuts, matrices
from .experiments import EXPERIMENTS, SEEDS, TASK, TUNING_SEED, best_rate, tuning_runs
from .family_experiments import FAMILY
from .pool import fill, processes
from .rows import Rows
from .runs import Run, measure, row_key
from .subspaces import study

HERE = Path(__file__).parent
SETTINGS = EXPERIMENTS | FAMILY  # name -> function that lists the settings


def results(name, folder=HERE / "results"):
    return Rows(
        folder / f"{name}.json", command=f"python -m benchmarks.paper {name}", seeds=list(SEEDS),
        tuning_seed=TUNING_SEED,
    )  # fmt: skip


def run_experiment(settings, store, workers=1):
    """Measure the missing runs, seed by seed, so that an interrupted experiment can already be drawn."""
    total = sum(len(tuning_runs(s)) + len(SEEDS) for s in settings)
    with progress(total) as step, processes(workers) as each:
        tunings = [(run, True, f"{s.label}, tuning") for s in settings for run in tuning_runs(s)]
        measure_missing(tunings, store, each, step)
        finals = [
            (replace(s.run, lr=best_rate(s, store), seed=seed), False, f"{s.label}, seed {seed}")
            for seed in SEEDS
            for s in settings
        ]
        measure_missing(finals, store, each, step)
    store.finish()


def measure_missing(runs, store, each, step):  # [(Run, whether it is a tuning run, what)]
    fill(store, measure, [(row_key(run, tuning), (run, tuning), what) for run, tuning, what in runs], each, step)


def run_subspaces(store, workers=1):
    with progress(len(SEEDS)) as step, processes(workers) as each:
        keys = [{"task": TASK, "targets": "q,v", "lr": 1e-2, "steps": 150, "seed": seed} for seed in SEEDS]
        fill(store, study, [(key, (Run(**key),), f"seed {key['seed']}") for key in keys], each, step)
    store.finish()


def run_error_cut(store, workers=1):
    """One row for each matrix and rank; nothing is trained."""
    found = matrices()
    tasks = [
        ({"path": path, "r": r}, (W, r, np.random.default_rng([TUNING_SEED, i])), f"{path}, rank {r}")
        for i, (path, W) in enumerate(found.items())
        for r in RANKS
    ]
    with progress(len(tasks)) as step, processes(workers) as each:
        fill(store, cuts, tasks, each, step)
    store.finish()


OTHERS = {"subspaces": run_subspaces, "error-cut": run_error_cut}  # name -> function that measures it into a store
NAMES = (*SETTINGS, *OTHERS)


@contextlib.contextmanager
def progress(total):
    """Yield step(measured, what). A bar in a terminal; a line for every measured run where there is none."""
    done, measured, began = 0, 0, time.perf_counter()
    with new_bar(sys.stderr, "{task.description}") if sys.stderr.isatty() else contextlib.nullcontext() as bar:
        task = bar.add_task("", total=total) if bar else None

        def step(new, what):
            nonlocal done, measured
            done, measured = done + 1, measured + new
            if bar:
                bar.update(task, completed=done, description=what)
            elif new:
                left = (total - done) * (time.perf_counter() - began) / measured
                print(f"{done} of {total}: {what}; at most {left / 60:.0f} min left", file=sys.stderr, flush=True)

        yield step
