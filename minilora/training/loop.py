"""The training loop, and what can be hung on it: history, validation, saving, a stop on Ctrl-C.

    model.train()
    for step in 1 ... steps:
        loss = model.loss(ids, labels)          # forward
        loss.backward()                         # gradients, by hand
        clip_grad_norm_(params, max_norm)       # one look at all of them
        optimizer.step(schedule(step))          # p <- p - lr · ...
        optimizer.zero_grad()

Callbacks are called with the `Run` before the first step and after every step. Losses stay where they were computed
until a callback reads them: on a GPU the host does not wait for each step.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..backend import array_module, to_host
from ..errors import ConfigError
from ..ops.loss import IGNORE
from .optim import clip_grad_norm_, constant


@dataclass
class Run:
    """Where a training stands. loss: of the latest step, a 0-d array where the model lives; None before the first."""

    model: Any
    batches: Any
    optimizer: Any
    steps: int
    rng: Any = None
    step: int = 0
    loss: Any = None
    norm: Any = None  # of all gradients together, before clipping; 0-d array
    factor: float = 0.0  # what the schedule multiplied the learning rates with
    tokens: int = 0  # read so far by this process, padding included
    stop: bool = False  # a callback sets it to end after this step

    last = property(lambda self: self.stop or self.step >= self.steps)


def train(model, batches, optimizer, steps, schedule=None, max_norm=1.0, accumulate=1, rng=None, callbacks=(), start=0):
    """Take `steps` optimizer steps (from step `start` on, when resuming). Returns the Run.

    batches     iterator of (ids, labels), both (B, T) int64 on the host, not shifted; IGNORE where there is no label
    schedule    function step -> factor of the learning rate; None: constant
    max_norm    bound on the global norm of the gradients
    accumulate  batches per step; the gradient is that of one batch made of them all
    rng         numpy.random.Generator for dropout
    """
    if steps < 1 or accumulate < 1:
        raise ConfigError(f"steps {steps}, accumulate {accumulate}: expected at least 1")
    schedule = schedule or constant()
    run = Run(model, batches, optimizer, steps, rng, start)
    model.train()
    for callback in callbacks:
        callback(run)
    while not run.last:
        run.step += 1
        run.factor = schedule(run.step)
        run.loss = add_gradients(run, [next(batches) for _ in range(accumulate)])
        run.norm = clip_grad_norm_(optimizer.params, max_norm)
        optimizer.step(run.factor)
        optimizer.zero_grad()
        for callback in callbacks:
            callback(run)
    model.eval()
    return run


def add_gradients(run, micro_batches):  # list of (ids, labels) -> 0-d array
    """Backward through each micro-batch, weighted by its number of labels, so that the sum is the gradient of the mean
    loss over all labels (an unweighted mean would give a label in a short micro-batch more weight). Returns that loss.
    """
    counts = [count_labels(labels) for _, labels in micro_batches]
    total = 0
    for (ids, labels), count in zip(micro_batches, counts, strict=True):
        loss = run.model.loss(ids, labels, rng=run.rng)
        share = count / sum(counts)
        loss.backward(array_module(loss.data).full_like(loss.data, share))
        total = total + loss.data * share
        run.tokens += ids.size
    return total


def count_labels(labels):  # (B, T) int -> int
    """How many labels `model.loss` predicts: nothing predicts the first of a row."""
    return int(np.count_nonzero(labels[:, 1:] != IGNORE))


def evaluate(model, batches):  # iterable of (ids, labels) -> float
    """Mean loss over all labels, in nats, without dropout. One read from the device, at the end."""
    was_training = model.training
    model.eval()
    total, count = 0, 0
    with no_grad():
        for ids, labels in batches:
            n = count_labels(labels)
            total, count = total + model.loss(ids, labels).data * n, count + n
    model.train(was_training)
    return float(to_host(total)) / count
