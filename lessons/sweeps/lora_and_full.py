"""Lesson 6: LoRA and full fine-tuning of the same base on the same task, each at several learning rates.

python -m lessons.sweeps.lora_and_full
"""

import time

import click
import numpy as np

from benchmarks.pool import workers_option
from minilora import LoraConfig, get_peft_model
from minilora.course.lab.tune import corpus_loss, load_base, test_score, tune

from .common import Sweep

TASK, STEPS, SEEDS = "sql", 150, (0, 1, 2)
RATES = {
    "full": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "lora": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
}


def run(method, lr, seed):  # -> row
    model, tokenizer = load_base()
    if method == "lora":
        config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")
        model = get_peft_model(model, config, seed=seed)
    began = time.process_time()
    losses = tune(model, tokenizer, TASK, STEPS, lr, seed)
    return {
        "method": method,
        "lr": lr,
        "seed": seed,
        "seconds": time.process_time() - began,
        "loss": float(np.mean(losses[-20:])),
        "score": test_score(model, tokenizer, TASK),
        "corpus_loss": corpus_loss(model, tokenizer),
    }


def rows(**setting):
    return [run(**setting)]


@click.command()
@workers_option
def main(workers):
    sweep = Sweep("lora_and_full", SEEDS)
    named = [
        {"method": method, "lr": lr, "seed": seed} for seed in SEEDS for method, rates in RATES.items() for lr in rates
    ]
    sweep.measure(rows, named, workers)
    sweep.finish(base_text_loss=corpus_loss(*load_base()))


if __name__ == "__main__":
    main()
