"""The training loop.

    model.train()
    for step in 1 ... steps:
        loss = model.loss(ids, labels)          # forward
        loss.backward()                         # gradients, by hand
        clip_grad_norm_(params, max_norm)       # one look at all of them
        optimizer.step(schedule(step))          # p <- p - lr · ...
        optimizer.zero_grad()

With several workers each computes the gradients of its rows of every batch, and their sum is that of all (see
parallel.py).

With float16 the gradients are scaled before the backward and unscaled before clipping. A step that overflows is
taken again, with the next batches (see precision.py).

Callbacks are called with the `Run` before the first step and after every step. A loss stays on its device until a
callback reads it, so the host does not wait for a GPU at each step.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..backend import array_module, to_host
from ..errors import ConfigError, DataError
from ..ops.loss import IGNORE
from .optim import Optimizer, Schedule, clip_grad_norm_, constant
from .parallel import ALONE, Workers
from .precision import Precision


def own_loss(model, ids, labels, **fields):  # (B, T) int, (B, T) int -> Tensor ()
    """The model's own: cross-entropy with the labels."""
    return model.loss(ids, labels, **fields)


MOST_BATCHES = 1_000_000  # in a step; a larger number is a mistake, and would seem to hang


@dataclass
class Run:
    """The state of a training. loss: of the latest step, a 0-d array on the model's device; None before the first."""

    model: Any
    batches: Any
    optimizer: Any
    steps: int
    rng: Any = None
    step: int = 0
    precision: Precision = field(default_factory=Precision)
    loss_of: Callable = own_loss  # function (model, ids, labels, rng) -> Tensor ()
    loss: Any = None
    penalty: Any = None  # of the adapters, beside the loss; 0-d array, None when there is none
    norm: Any = None  # global norm of the gradients before clipping; 0-d array
    factor: float = 0.0  # the schedule's value at this step
    tokens: int = 0  # read so far by all workers, padding included
    stop: bool = False  # a callback sets it, on all workers alike, to end the run after this step
    workers: Workers = ALONE
    interrupted: Callable[[], bool] = bool  # whether this worker was asked to end; they all end together

    last = property(lambda self: self.stop or self.step >= self.steps)


def train(
    model,
    batches,
    optimizer: Optimizer,
    steps: int,
    schedule: Schedule | None = None,
    max_norm: float = 1.0,
    accumulate: int = 1,
    rng: np.random.Generator | None = None,
    callbacks=(),
    start: int = 0,
    precision: Precision | None = None,
    loss_of: Callable = own_loss,
    workers: Workers = ALONE,
) -> Run:
    """Train until step `steps`; a resumed run begins after step `start`.

    batches     iterator of (ids, labels), both (B, T) int64 on the host, not shifted; IGNORE where there is no label
    schedule    function step -> factor of the learning rate; None: constant
    max_norm    bound on the global norm of the gradients
    accumulate  batches per step; their gradients add up to that of one large batch
    rng         for dropout
    callbacks   functions of the Run, called in order
    precision   of the forward and backward; None: float32
    loss_of     function (model, ids, labels, rng=generator) -> what is minimised, instead of the model's own loss
    workers     that share the rows of every batch; each of them draws the whole batch

    Raises ConfigError for no steps or no batches.
    """
    if steps < 1 or accumulate < 1:
        raise ConfigError(f"steps {steps}, accumulate {accumulate}: expected at least 1")
    if accumulate > MOST_BATCHES:
        raise ConfigError(f"accumulate {accumulate}: expected at most {MOST_BATCHES:,}")
    schedule = schedule or constant()
    run = Run(model, batches, optimizer, steps, rng, start, precision or Precision(), loss_of, workers=workers)
    for p in optimizer.params:
        workers.broadcast(p.data)
    model.train()
    for callback in callbacks:
        callback(run)
    while not run.last:
        run.step += 1
        run.factor = schedule(run.step)
        while not fill_gradients(run, [next(batches) for _ in range(accumulate)]):
            optimizer.zero_grad()
        run.norm = clip_grad_norm_(optimizer.params, max_norm)
        optimizer.step(run.factor)
        model.after_step(run.step)
        optimizer.zero_grad()
        for callback in callbacks:
            callback(run)
    model.eval()
    return run


def fill_gradients(run, micro_batches) -> bool:  # list of (ids, labels)
    """The gradients of a step. False when they overflow; nothing but the loss scale has changed then."""
    with run.precision.computing(run.model):
        run.loss = add_gradients(run, micro_batches)
    if (penalty := run.model.penalty()) is not None:  # once a step, not once a batch, and not part of the loss shown
        penalty.backward(array_module(penalty.data).full_like(penalty.data, run.precision.scale))
        run.penalty = penalty.data
    return run.precision.unscale_(run.optimizer.params)


def add_gradients(run, micro_batches):  # list of (ids, labels) -> 0-d array
    """Backward through this worker's rows of each micro-batch, then the sum over the workers.

    Returns the mean loss over the labels of all of them. Raises DataError when the workers have drawn other batches.

    A micro-batch is weighted by its number of labels. (In an unweighted mean a label of a small micro-batch would
    count more than one of a large micro-batch.)
    """
    labels_of_all = sum(count_labels(labels, run.model) for _, labels in micro_batches)
    total, labels_here = 0, 0
    for batch in micro_batches:
        ids, labels, count = rows_of_worker(batch, run)
        loss = run.loss_of(run.model, ids, labels, rng=run.rng)
        share = count / labels_of_all
        loss.backward(array_module(loss.data).full_like(loss.data, share * run.precision.scale))
        total, labels_here = total + loss.data * share, labels_here + count
        run.tokens += batch[0].size
    loss, found, stop = run.workers.sum_step(run.optimizer.params, total, labels_here, run.interrupted())
    if found != labels_of_all:
        raise DataError(f"the workers have drawn {found:,} labels, expected {labels_of_all:,}: all need the same data")
    run.stop = run.stop or stop
    return loss


def rows_of_worker(batch, run):  # (ids, labels), both (B, T) -> ids (b, T), labels (b, T), how many labels count
    """Rows rank, rank + size, ... of a batch.

    A worker without a label there takes a row of another, whose labels count 0 times: its gradients are zeros.
    """
    ids, labels = (part[run.workers.rank :: run.workers.size] for part in batch)
    if count := count_labels(labels, run.model):
        return ids, labels, count
    row = int(np.argmax([count_labels(row[None], run.model) for row in batch[1]]))
    return *(part[row : row + 1] for part in batch), 0


def count_labels(labels, model) -> int:  # (B, T) int
    """How many labels `model.loss` predicts: without the first of a row, unless prompt tuning puts places before it."""
    return int(np.count_nonzero(labels[:, 0 if model.predicts_first else 1 :] != IGNORE))


def evaluate(model, batches, precision: Precision | None = None, workers: Workers = ALONE) -> float:
    """Mean loss over all labels, in nats, without dropout. Waits for the device once, at the end.

    Raises DataError when no label is predicted.

    batches: iterable of (ids, labels). precision: of the forward; None: float32. workers: that share the batches.
    """
    precision = precision or Precision()
    was_training = model.training
    model.eval()
    total, count = 0, 0
    with no_grad(), precision.computing(model):
        for ids, labels in itertools.islice(batches, workers.rank, None, workers.size):
            n = count_labels(labels, model)
            total, count = total + model.loss(ids, labels).data * n, count + n
    model.train(was_training)
    total, count = workers.sum(np.array([float(to_host(total)), count])).tolist()
    if not count:
        raise DataError("no token is predicted: every row has one token, or all of it is masked")
    return total / count
