"""Lesson 6: LoRA and full fine-tuning of one base on one task, each at several learning rates, and two controls.

The controls are at LoRA's rate of 0.01. "random labels" trains on questions with the answers of other questions.
"random adapter" replaces each trained s B A by a random one of the same rank and the same size.

python -m lessons.sweeps.lora_and_full
"""

import time

import click
import numpy as np

from benchmarks.pool import workers_option
from minilora import LoraConfig, get_peft_model
from minilora.course.lab.tune import corpus_loss, load_base, test_score, tune, valid_score
from minilora.tasks.shipped import get_task

from .common import Sweep

TASK, STEPS, SEEDS = "sql", 150, (0, 1, 2, 3, 4)
RATES = {
    "full": (1e-4, 3e-4, 6e-4, 1e-3, 2e-3, 3e-3, 1e-2),
    "lora": (3e-4, 1e-3, 3e-3, 6e-3, 1e-2, 1.5e-2, 3e-2),
    "random labels": (1e-2,),
    "random adapter": (1e-2,),
}


def other_answers(seed):  # -> list of examples, each with the answer of another one
    examples = get_task(TASK).examples("train")
    order = np.random.default_rng([seed, 2]).permutation(len(examples))
    return [e | {"response": examples[i]["response"]} for e, i in zip(examples, order, strict=True)]


def randomize(model, seed):
    """Replace each update by a random one of the same rank and the same size √Σ ΔW²."""
    rng = np.random.default_rng([seed, 3])
    for layer in model.base_model.layers:
        adapter = layer.adapters["default"]
        size = np.linalg.norm(adapter.delta())
        for p in (adapter.A, adapter.B):
            p.data = rng.standard_normal(p.shape).astype(np.float32)
        adapter.B.data *= np.float32(size / np.linalg.norm(adapter.delta()))


def run(method, lr, seed):  # -> row
    model, tokenizer = load_base()
    if method != "full":
        config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")
        model = get_peft_model(model, config, seed=seed)
    examples = other_answers(seed) if method == "random labels" else None
    began = time.process_time()
    losses = tune(model, tokenizer, TASK, STEPS, lr, seed, examples=examples)
    seconds = time.process_time() - began
    if method == "random adapter":
        randomize(model, seed)
    return {
        "method": method,
        "lr": lr,
        "seed": seed,
        "seconds": seconds,
        "loss": float(np.mean(losses[-20:])),
        "valid": valid_score(model, tokenizer, TASK),
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
