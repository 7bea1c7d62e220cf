"""A short fine-tuning for the lessons: one task, one seed; and scores and losses to measure afterwards."""

import sys
import time
from collections.abc import Callable

import numpy as np

from ...files.shipped import shipped
from ...models import pretrained
from ...tasks.scoring import score
from ...tasks.shipped import get_task
from ...text.batches import PairBatches, pad_pairs
from ...text.encoding import encode_pair, encode_text
from ...training.loop import evaluate
from ...training.optim import AdamW, linear_decay
from ...training.resume import trained
from ...training.run import run_training


def load_base():  # -> model, TextTokenizer
    """The shipped base, all of it trainable, and its tokenizer."""
    return pretrained.load_base()


def tune(
    model, tokenizer, task: str, steps=150, lr=3e-3, seed=0, batch_size=16, examples: list[dict] | None = None
) -> list[float]:
    """Train the trainable parameters of `model` on a task. Returns the loss of each step.

    AdamW; the learning rate rises for 10 steps, then falls in a straight line to 0. examples: None takes those of the
    task's train split.
    """
    rng = np.random.default_rng([seed, 1])
    examples = examples or get_task(task).examples("train")
    batches = PairBatches(examples, tokenizer, batch_size, model.config.max_position_embeddings, rng)
    optimizer = AdamW([p for _, p in trained(model)], lr=lr, weight_decay=0.0)
    schedule = linear_decay(steps, 10)
    return run_training(model, batches, optimizer, steps, schedule=schedule, callbacks=[show_step]).history.loss


def show_step(run) -> None:  # a training.loop.Run
    """In a page of the site, where a training takes long, say beside its seconds which step it has done."""
    if sys.platform == "emscripten":  # the worker of the page has put this function there
        import js

        js.minilora_step(f"step {run.step} of {run.steps}")


def test_score(model, tokenizer, task: str, examples: int | None = None) -> float:
    """Share of right answers among the first `examples` of the task's test split; None: all of them."""
    scored = get_task(task)
    return score(model, tokenizer, scored, scored.examples("test")[:examples])[0]


def valid_score(model, tokenizer, task: str) -> float:
    """Share of right answers on the task's valid split: settings are chosen on it, so that the test split stays new."""
    scored = get_task(task)
    return score(model, tokenizer, scored, scored.examples("valid"))[0]


def corpus_loss(model, tokenizer, windows=16, length=256) -> float:
    """Loss on base text that no training has seen. It rises when a training makes the model forget the base text."""
    ids = encode_text(shipped("corpus_valid.txt").read_text(encoding="utf-8"), tokenizer)
    ids = ids[: windows * length].reshape(windows, length)
    return evaluate(model, [(ids, ids)])


def test_loss(model, tokenizer, task: str) -> float:
    """Mean loss on the responses of the task's test split. (A score counts whole answers; a loss shows small steps.)"""
    pairs = [encode_pair(example, tokenizer) for example in get_task(task).examples("test")]
    return evaluate(model, [pad_pairs(pairs[i : i + 64], tokenizer.pad_id) for i in range(0, len(pairs), 64)])


def affordable_steps(one_step: Callable, steps: int, seconds: float = 60.0) -> int:
    """How many of `steps` fit into `seconds`, as one timed call of `one_step()` says; at least 1. Prints why fewer."""
    start = time.perf_counter()
    one_step()
    each = time.perf_counter() - start
    fit = max(1, min(steps, int(seconds / each)))
    if fit < steps:
        print(f"one step takes {each:.2g} s, so {steps} steps would take {steps * each:,.0f} s: {fit} steps instead")
    return fit
