"""What can be hung on the training loop: history, validation, saving, a stop on Ctrl-C."""

import math
import signal
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..backend import array_module, to_host
from ..errors import TrainingError
from .loop import evaluate


@dataclass
class History:
    """Callback: reads the losses every `every` steps, and stops a run whose loss is not finite.

    loss, lr: one number per step; norm: one per reading; valid: [step, loss] per evaluation. `good` is a copy of the
    trained arrays of which a later, finite loss has shown that they work: what `restore_last_good` puts back.
    """

    every: int = 10
    loss: list = field(default_factory=list)
    lr: list = field(default_factory=list)
    norm: list = field(default_factory=list)
    valid: list = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self):
        self._unread, self._good, self._copy, self._since = [], None, None, None

    def __call__(self, run):
        if run.loss is None:
            self._copy, self._since = self._copied(run), time.perf_counter()
            return
        self._unread.append(run.loss)
        self.lr.append(run.optimizer.param_groups[0]["lr"] * run.factor)
        if run.step % self.every == 0 or run.last:
            self.read(run)

    def read(self, run):
        """Fetch the losses of all steps so far; whoever evaluates or saves waits for the device anyway."""
        if not self._unread:
            return
        losses = to_host(array_module(self._unread[0]).stack(self._unread)).tolist()  # the one wait for the device
        self.norm.append([run.step, float(to_host(run.norm))])
        self._unread = []
        for loss in losses:
            self.check(loss, len(self.loss) + 1, "loss")
            self.loss.append(loss)
            if self._copy[0] < len(self.loss):  # computed with the copied arrays, or later: they were sound
                self._good = self._copy
        self._copy = self._copied(run)
        now = time.perf_counter()
        self.seconds, self._since = self.seconds + now - self._since, now

    def check(self, loss, step, what):
        if not math.isfinite(loss):
            raise TrainingError(f"the {what} is {loss} at step {step}; a smaller learning rate may help")

    def _copied(self, run):
        return run.step, [p.data.copy() for p in run.optimizer.params]

    def restore_last_good(self, params):
        """Put the last good arrays back into the parameters. Returns the step they are from; None: there are none."""
        if self._good is None:
            return None
        for p, array in zip(params, self._good[1], strict=True):
            p.data[...] = array
        return self._good[0]

    def mean_loss(self, last=10):
        """Mean of the latest losses that were read; nan before the first."""
        return float(np.mean(self.loss[-last:])) if self.loss else math.nan

    def as_json(self):
        return {name: getattr(self, name) for name in ("loss", "lr", "norm", "valid", "seconds")}

    def restore(self, saved, step):
        """Take over what `as_json` gave after `step` steps. Raises ValueError when it cannot be that."""
        loss, lr, norm, valid, seconds = (saved[name] for name in self.as_json())
        numbers = [*loss, *lr, *(x for pair in [*norm, *valid] for x in pair), seconds]
        if not (len(loss) == len(lr) == step and all(isinstance(x, int | float) for x in numbers)):
            raise ValueError
        if any(len(pair) != 2 for pair in [*norm, *valid]):
            raise ValueError
        self.loss, self.lr, self.norm, self.valid, self.seconds = loss, lr, norm, valid, seconds


@dataclass
class Evaluation:
    """Callback: the validation loss before the first step, every `every` steps and at the end, into `history.valid`."""

    batches: list
    history: History
    every: int

    def __call__(self, run):
        done = self.history.valid and self.history.valid[-1][0] == run.step  # a resumed run begins where it was saved
        if self.batches and not done and (run.step % self.every == 0 or run.last):
            self.history.read(run)
            loss = evaluate(run.model, self.batches)
            self.history.check(loss, run.step, "validation loss")
            self.history.valid.append([run.step, loss])


@dataclass
class Saving:
    """Callback: calls `save(run)` every `every` steps and at the end; not before the first step."""

    save: Any
    every: int

    def __call__(self, run):
        if run.loss is not None and (run.step % self.every == 0 or run.last):
            self.save(run)


class StopOnInterrupt:
    """Callback and context: the first Ctrl-C ends the run after the step at hand, so that it can be saved whole; the
    second one ends the program at once.

    Outside the main thread there are no signals to catch, and this does nothing.
    """

    asked = False

    def __call__(self, run):
        run.stop = run.stop or self.asked

    def __enter__(self):
        try:
            self._before = signal.signal(signal.SIGINT, self._ask)
        except ValueError:  # not the main thread
            self._before = None
        return self

    def __exit__(self, *_):
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, number, frame):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
