"""Lesson 7: training loss against the learning rate, one curve for each rank, with alpha / r and with alpha / √r.

python -m lessons.sweeps.scale
"""

import itertools

import click
import numpy as np

from benchmarks.pool import workers_option
from minilora import LoraConfig, get_peft_model
from minilora.course.lab.tune import load_base, tune
from minilora.errors import TrainingError

from .common import Sweep

TASK, STEPS, ALPHA, SEEDS = "sql", 150, 16, (0, 1)
RANKS = (1, 4, 16, 64)
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


def final_loss(rank_stabilised, r, lr, seed):  # -> mean of the last 20 training losses; None when it blew up
    model, tokenizer = load_base()
    config = LoraConfig(r=r, lora_alpha=ALPHA, target_modules="all-linear", use_rslora=rank_stabilised)
    try:
        return float(np.mean(tune(get_peft_model(model, config, seed=seed), tokenizer, TASK, STEPS, lr, seed)[-20:]))
    except TrainingError:
        return None


def rows(**setting):
    return [setting | {"loss": final_loss(**setting)}]


@click.command()
@workers_option
def main(workers):
    sweep = Sweep("scale", SEEDS)
    settings = itertools.product(SEEDS, (False, True), RANKS, RATES)
    named = [{"rank_stabilised": stable, "r": r, "lr": lr, "seed": seed} for seed, stable, r, lr in settings]
    sweep.measure(rows, named, workers)
    sweep.finish()


if __name__ == "__main__":
    main()
