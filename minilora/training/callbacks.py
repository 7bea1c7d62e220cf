"""Callbacks of the training loop: the history, the last good weights, validation, saving, a stop on a signal."""

import math
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..backend import array_module, to_host
from ..errors import ConfigError, TrainingError
from .loop import evaluate
from .resume import learned

STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows: two


@dataclass
class History:
    """Callback: reads the losses every `every` steps, and stops a run whose loss is not finite.

    loss     one number per step, in nats per label
    lr       one number per step: the learning rate of the first group
    norm     [step, norm] per reading: the global norm of the gradients before clipping
    valid    [step, loss] per evaluation
    penalty  [step, penalty] per reading: AdaLoRA's orthogonality term, which is no part of the loss
    seconds  spent in training and evaluation, over all sessions of a resumed run
    """

    every: int = 10
    loss: list = field(default_factory=list)
    lr: list = field(default_factory=list)
    norm: list = field(default_factory=list)
    valid: list = field(default_factory=list)
    penalty: list = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self):
        self._unread = []  # losses that are still on the device
        self._since = 0.0  # when `seconds` was last updated

    def __call__(self, run):
        if run.loss is None:
            self._since = time.perf_counter()
            return
        self._unread.append(run.loss)
        self.lr.append(run.optimizer.param_groups[0]["lr"] * run.factor)
        if run.step % self.every == 0 or run.last:
            self.read(run)

    def read(self, run) -> None:
        """Fetch the losses of all steps so far from the device. Raises TrainingError for one that is not finite."""
        if not self._unread:
            return
        losses = to_host(array_module(self._unread[0]).stack(self._unread)).tolist()  # the one wait for the device
        self._unread = []
        self.norm.append([run.step, float(to_host(run.norm))])
        if run.penalty is not None:
            self.penalty.append([run.step, float(to_host(run.penalty))])
        for loss in losses:
            check_finite(loss, len(self.loss) + 1, "loss")
            self.loss.append(loss)
        now = time.perf_counter()
        self.seconds, self._since = self.seconds + now - self._since, now

    def mean_loss(self, last: int = 10) -> float:
        """Mean of the latest losses that were read; nan before the first."""
        return float(np.mean(self.loss[-last:])) if self.loss else math.nan

    def best(self) -> Any:  # [step, loss], or None without a validation
        """The first [step, loss] with the lowest validation loss; before the first step nothing was learned."""
        return min((pair for pair in self.valid if pair[0]), key=lambda pair: pair[1], default=None)

    def as_json(self) -> dict:
        return {name: getattr(self, name) for name in ("loss", "lr", "norm", "valid", "penalty", "seconds")}

    def restore(self, saved: dict, step: int) -> None:
        """Go on from what `as_json` gave after `step` steps. Raises ValueError for anything else."""
        saved = {"penalty": []} | saved  # earlier versions wrote none
        loss, lr, norm, valid, penalty, seconds = (saved[name] for name in self.as_json())
        if not all(isinstance(found, list) for found in (loss, lr, norm, valid, penalty)):
            raise ValueError
        numbers = [*loss, *lr, *(x for pair in [*norm, *valid, *penalty] for x in pair), seconds]
        if not (len(loss) == len(lr) == step and all(isinstance(x, int | float) for x in numbers)):
            raise ValueError
        if any(not isinstance(pair, list) or len(pair) != 2 for pair in [*norm, *valid, *penalty]):
            raise ValueError
        if not all(map(math.isfinite, [*loss, *lr, *(x for pair in valid for x in pair)])):
            raise ValueError
        self.loss, self.lr, self.norm, self.valid, self.penalty, self.seconds = loss, lr, norm, valid, penalty, seconds


def check_finite(loss: float, step: int, kind: str) -> None:
    if not math.isfinite(loss):
        raise TrainingError(f"the {kind} is {loss} at step {step}; a smaller learning rate may help")


class LastGood:
    """Callback, after `history`: keeps copies of the trained weights, so that a failed run can go back to good ones.

    Weights are good when a later loss, computed with them or after them, was finite. Whenever `history` has read all
    losses, the weights of that step are copied; the newest good copy is kept beside it.
    """

    def __init__(self, history: History):
        self.history = history
        self._copies = []  # (step, arrays): the newest good copy, and the newest

    def __call__(self, run):
        if len(self.history.loss) == run.step:
            self._copies = self._good_copies()[-1:] + [(run.step, [p.data.copy() for p in run.optimizer.params])]

    def _good_copies(self):
        return [(step, arrays) for step, arrays in self._copies if step < len(self.history.loss)]

    def restore(self, params) -> int | None:
        """Put the newest good weights back into `params`. Returns their step; None when there are none."""
        if not (good := self._good_copies()):
            return None
        step, arrays = good[-1]
        for p, array in zip(params, arrays, strict=True):
            p.data[...] = array
        return step


@dataclass
class Evaluation:
    """Callback: the validation loss before the first step, every `every` steps and at the end, into `history.valid`."""

    batches: Sequence  # of (ids, labels)
    history: History
    every: int

    def __post_init__(self):
        if self.every < 1:
            raise ConfigError(f"evaluation every {self.every} steps: expected at least 1")

    def __call__(self, run):
        done = self.history.valid and self.history.valid[-1][0] == run.step  # a resumed run was evaluated when saved
        if self.batches and not done and (run.step % self.every == 0 or run.last):
            self.history.read(run)
            loss = evaluate(run.model, self.batches, run.precision, run.workers)
            check_finite(loss, run.step, "validation loss")
            self.history.valid.append([run.step, loss])


class Best:
    """Callback, after the evaluation: keeps copies of what was learned when the validation loss was lowest."""

    def __init__(self, history: History):
        self.history = history
        self.arrays = {}  # see `resume.learned`

    def __call__(self, run):
        if self.is_of(run.step):
            self.arrays = {name: array.copy() for name, array in learned(run.model).items()}

    def is_of(self, step: int) -> bool:
        best = self.history.best()
        return best is not None and best[0] == step


@dataclass
class Patience:
    """Callback, after the evaluation: ends the run after so many `evaluations` in a row without a lower loss."""

    history: History
    evaluations: float  # a whole number, or infinity
    over: bool = False

    def __call__(self, run):
        valid = self.history.valid
        if run.loss is not None and valid and valid[-1][0] == run.step:
            best = self.history.best()
            self.over = sum(step > best[0] for step, _ in valid) >= self.evaluations
            run.stop = run.stop or self.over


@dataclass
class Saving:
    """Callback: calls `save(run)` every `every` steps and at the end; not before the first step."""

    save: Callable[[Any], None]
    every: int

    def __call__(self, run):
        if run.loss is not None and (run.step % self.every == 0 or run.last):
            self.save(run)


class StopOnInterrupt:
    """Callback and context: the first Ctrl-C, or SIGTERM (which clusters and containers send), ends the run after the
    current step, so that it can be saved whole. The second one does at once what it does elsewhere.

    signal  the number of the one that ended the run; 0: none

    With several workers all of them end after the same step: the first that was asked tells the others in the next sum.

    Python delivers signals only to the main thread; in another thread this does nothing. A signal that the process
    ignores (`nohup` makes it ignore SIGHUP) stays ignored.
    """

    signal = 0

    def __call__(self, run):
        run.interrupted = lambda: bool(self.signal)
        if run.workers.size == 1:
            run.stop = run.stop or bool(self.signal)

    def __enter__(self):
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                if (before := signal.getsignal(number)) not in (signal.SIG_IGN, None):  # None: not Python's
                    self._before[number] = before
                    signal.signal(number, self._ask)
        return self

    def __exit__(self, *_):
        for number, before in self._before.items():
            signal.signal(number, before)

    def _ask(self, number, frame):
        if self.signal:
            signal.signal(number, self._before[number])
            signal.raise_signal(number)
        self.signal = number
