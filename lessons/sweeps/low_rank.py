"""Lesson 5: full fine-tuning of every matrix, and how much of its update is needed: only the best part of rank r, or a
random one, is added to the base.

    python -m lessons.sweeps.low_rank
"""

import click
import numpy as np

from benchmarks.pool import workers_option
from minilora.course.lab.low_rank import best_part, matrices, random_part, set_weights, train_only
from minilora.course.lab.tune import load_base, test_score, tune

from .common import Sweep

TASKS, STEPS, LR, SEEDS = ("sql", "style-json", "reviews"), 150, 1e-3, (0, 1, 2)
RANKS = (1, 2, 4, 8, 16, 32)


def rows(task, seed):  # one training -> a row for each rank
    model, tokenizer = load_base()
    weights = matrices(model)
    train_only(model, weights)
    base = {name: p.data.copy() for name, p in weights.items()}
    tune(model, tokenizer, task, STEPS, LR, seed)
    full = test_score(model, tokenizer, task)
    update = {name: p.data - base[name] for name, p in weights.items()}
    rng = np.random.default_rng(seed)
    for r in RANKS:
        set_weights(weights, {name: base[name] + best_part(d, r) for name, d in update.items()})
        best = test_score(model, tokenizer, task)
        set_weights(weights, {name: base[name] + random_part(d, r, rng) for name, d in update.items()})
        random = test_score(model, tokenizer, task)
        yield {"task": task, "seed": seed, "rank": r, "full": full, "best": best, "random": random}


@click.command()
@workers_option
def main(workers):
    sweep = Sweep("low_rank", SEEDS)
    sweep.measure(rows, [{"task": task, "seed": seed} for task in TASKS for seed in SEEDS], workers)
    sweep.finish()


if __name__ == "__main__":
    main()
