"""Running an experiment: the cells that its file lacks, one after the other, each saved when it is done."""

import contextlib
import sys
import time
from dataclasses import replace
from pathlib import Path

from .experiments import EXPERIMENTS, SEEDS, TASK, TUNING_SEED, best_rate, tuning_cells
from .runs import Cell, Results, measure, settings
from .subspaces import study

HERE = Path(__file__).parent
NAMES = (*EXPERIMENTS, "subspaces")


def results(name, folder=HERE / "results"):
    return Results(
        folder / f"{name}.json", command=f"python -m benchmarks.paper {name}", seeds=list(SEEDS),
        tuning_seed=TUNING_SEED,
    )  # fmt: skip


def run(arms, store):
    """Measure what is missing, seed by seed, so that what an interrupted run leaves can be looked at already."""
    with progress(sum(len(tuning_cells(a)) + len(SEEDS) for a in arms)) as step:
        for arm in arms:
            for cell in tuning_cells(arm):
                step(one(cell, store, tuning=True), f"{arm.line}, tuning")
        for seed in SEEDS:
            for arm in arms:
                cell = replace(arm.cell, lr=best_rate(arm, store), seed=seed)
                step(one(cell, store), f"{arm.line}, seed {seed}")
    store.finish()


def one(cell, store, tuning=False):  # -> whether it had to be measured
    key = settings(cell, tuning)
    if store.find(key):
        return False
    store.add(key | measure(cell, tuning))
    return True


def run_subspaces(store):
    with progress(len(SEEDS)) as step:
        for seed in SEEDS:
            cell = {"task": TASK, "targets": "q,v", "lr": 1e-2, "steps": 150, "seed": seed}
            missing = not store.find(cell)
            if missing:
                store.add(cell | study(Cell(**cell)))
            step(missing, f"seed {seed}")
    store.finish()


@contextlib.contextmanager
def progress(total):
    """Yield step(measured, what). A bar in a terminal; a line for every measured cell where there is none."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    done, measured, began = 0, 0, time.perf_counter()
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with bar:
        task = bar.add_task("", total=total)

        def step(new, what):
            nonlocal done, measured
            done, measured = done + 1, measured + new
            bar.update(task, completed=done, description=what)
            if new and bar.disable:
                left = (total - done) * (time.perf_counter() - began) / measured
                print(f"{done} of {total}: {what}; at most {left / 60:.0f} min left", file=sys.stderr, flush=True)

        yield step
