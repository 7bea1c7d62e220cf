"""Measures the runs that the file of an experiment lacks, one after the other, and saves each when it is done."""

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


def run_experiment(settings, store):
    """Measure the missing runs, seed by seed, so that an interrupted experiment can already be drawn."""
    with progress(sum(len(tuning_runs(s)) + len(SEEDS) for s in settings)) as step:
        for setting in settings:
            for run in tuning_runs(setting):
                step(measure_if_missing(run, store, tuning=True), f"{setting.label}, tuning")
        for seed in SEEDS:
            for setting in settings:
                run = replace(setting.run, lr=best_rate(setting, store), seed=seed)
                step(measure_if_missing(run, store), f"{setting.label}, seed {seed}")
    store.finish()


def measure_if_missing(run, store, tuning=False):  # -> whether it had to be measured
    key = row_key(run, tuning)
    if store.find(key):
        return False
    store.add(key | measure(run, tuning))
    return True


def run_subspaces(store):
    with progress(len(SEEDS)) as step:
        for seed in SEEDS:
            key = {"task": TASK, "targets": "q,v", "lr": 1e-2, "steps": 150, "seed": seed}
            missing = not store.find(key)
            if missing:
                store.add(key | study(Run(**key)))
            step(missing, f"seed {seed}")
    store.finish()


def run_error_cut(store):
    """One row for each matrix and rank; nothing is trained."""
    found = matrices()
    with progress(len(found) * len(RANKS)) as step:
        for i, (path, W) in enumerate(found.items()):
            for r in RANKS:
                key = {"path": path, "r": r}
                missing = not store.find(key)
                if missing:
                    store.add(key | cuts(W, r, np.random.default_rng([TUNING_SEED, i])))
                step(missing, f"{path}, rank {r}")
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
