"""A training of a ready model with ready batches: evaluated, saved, resumed, drawn, stopped by Ctrl-C or SIGTERM.

`loop.train` takes the steps. This file adds what every longer training needs, by callbacks.
"""

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..display.plots import loss_curve
from ..display.progress import Progress
from ..errors import MiniloraError, TrainingError
from ..files.atomic import read_json, write_json
from .callbacks import Best, Evaluation, History, LastGood, Patience, Saving, StopOnInterrupt
from .log import write_log
from .loop import own_loss, train
from .optim import Optimizer, Schedule
from .parallel import ALONE, Workers
from .precision import precision_named
from .resume import drop_old_state, load_state, only_run, put_back, save_state

HISTORY = "history.json"  # beside the result: the losses and the settings


@dataclass
class Result:
    """A finished training.

    step         the last one
    interrupted  Ctrl-C or SIGTERM ended it before its last step
    kept         the step whose weights the model has
    signal       number of the signal that ended it; 0: none
    """

    model: Any
    history: History
    step: int
    interrupted: bool = False
    kept: int = 0
    signal: int = 0


@dataclass
class RunFolder:
    """Where a training is saved.

    save_model  function () that writes the model there
    settings    any JSON values, kept with the run
    write_card  function (history) that writes the model card; None: there is none
    replace     whether a result that is there when the training begins is replaced
    """

    path: Path
    save_model: Callable[[], None]
    settings: dict
    write_card: Callable[[History], None] | None = None
    replace: bool = True

    def save(self, history: History, model: bool = True) -> None:
        """Write the model, the history and the card. model: False when the model there is better."""
        if model:
            self.save_model()
        drop_old_state(self.path)
        write_history(self.path, history, self.settings)
        write_log(self.path, history)
        if self.write_card:
            self.write_card(history)


def run_training(
    model,
    batches,
    optimizer: Optimizer,
    steps: int,
    *,
    schedule: Schedule | None = None,
    accumulate: int = 1,
    max_norm: float = 1.0,
    rng: np.random.Generator | None = None,
    valid: Sequence = (),
    eval_every: int = 25,
    out: RunFolder | None = None,
    resume: bool = False,
    progress: bool = False,
    plot: bool = False,
    keep_best: bool = False,
    patience: int | None = None,
    precision: str = "float32",
    loss_of: Callable = own_loss,
    callbacks: Sequence = (),
    workers: Workers = ALONE,
) -> Result:
    """Train `model` for `steps` steps.

    batches     iterator of (ids, labels), see `loop.train`; to be saved it needs `state()` and `restore(state)`
    schedule    function step -> factor of the learning rate; None: constant
    accumulate  batches per step
    max_norm    bound on the global norm of the gradients
    rng         for dropout
    valid       batches for the validation loss, measured every `eval_every` steps
    out         where the model and the run are saved, every `eval_every` steps; None: nowhere
    resume      go on with the run saved in `out`
    progress    show loss, speed and time left on standard error
    plot        draw the losses into loss.png in `out`
    keep_best   the weights with the lowest validation loss are the result, in the model and in `out`; not the last ones
    patience    end after so many evaluations in a row without a lower validation loss; None: at `steps`
    precision   of the forward and backward: "float32", "float16" or "bfloat16"; see precision.py
    loss_of     what is minimised, see `loop.train`; the validation loss is the model's own
    callbacks   further ones, see `loop.train`
    workers     that train together, see parallel.py; worker 0 alone writes into `out`, prints and draws

    With `out`, the first Ctrl-C or SIGTERM ends the run after the current step, saves it and returns; without, both do
    what they do elsewhere. Raises TrainingError when a loss is not finite: the model then has the last good weights,
    which are also saved in `out`. Raises MiniloraError when another process is writing into `out`.
    """
    history, stop = History(), StopOnInterrupt()
    best, patient = Best(history), Patience(history, math.inf if patience is None else patience)
    good, start, computing = LastGood(history), 0, precision_named(precision)
    first = workers.rank == 0
    with contextlib.ExitStack() as stack:
        if out and first:
            stack.enter_context(only_run(out.path, resume, out.replace))
        if out and resume:
            start = load_state(out.path, model, optimizer, batches, rng, history, best.arrays, computing)
        if rng and not first:  # dropout of its own; worker 0 has that of a training alone
            generator: Any = rng.bit_generator
            rng = np.random.Generator(generator.jumped(workers.rank))
        stack.enter_context(np.errstate(over="ignore", invalid="ignore"))  # History stops a run that overflows
        attached = [history, Evaluation(valid, history, eval_every), patient, *([best] if keep_best else [])]
        if progress and first:
            attached.append(stack.enter_context(Progress(history)))
        if out:

            def save(run):
                history.read(run)  # on every worker: they all end alike when a loss is not finite, and nothing is saved
                if not first:
                    return
                out.save(history, model=best.is_of(run.step) or not keep_best)
                save_state(out.path, run, history, out.settings, best.arrays)

            attached = [stack.enter_context(stop), *attached, Saving(save, eval_every)]
        try:
            run = train(model, batches, optimizer, steps, schedule, max_norm, accumulate, rng,
                        start=start, callbacks=[*attached, good, *callbacks], precision=computing,
                        loss_of=loss_of, workers=workers)  # fmt: skip
        except TrainingError as error:
            step = good.restore(optimizer.params)
            if best.arrays:
                put_back(model, best.arrays)
                step = history.best()[0]
            if step and out and first:
                out.save(history)
            workers.wait()  # until it is saved
            raise TrainingError(f"{error}; {_what_is_left(step, out)}") from error
        if plot and out and first:
            loss_curve(history, out.path / "loss.png")
    if best.arrays:
        put_back(model, best.arrays)
    kept = history.best()[0] if best.arrays else run.step
    signals = workers.gather(stop.signal)  # they were asked by different ones, or one of them alone
    return Result(model, history, run.step, run.step < steps and not patient.over, kept, int(signals.max()))


def _what_is_left(step, out):  # last good step or None, RunFolder or None -> the end of an error line
    if not step:
        return "nothing was learned before it, so nothing is saved"
    return f"the last good weights, those of step {step}, are {f'saved in {out.path}' if out else 'in the model'}"


def write_history(folder: Path, history: History, settings: dict) -> None:
    """Write the losses and the settings of a training beside its result."""
    write_json(folder / HISTORY, history.as_json() | {"settings": settings})


def settings_in_history(folder: str | Path) -> dict:
    """The settings of the training that wrote `folder`; {} when its history.json is missing or damaged."""
    try:
        settings = read_json(Path(folder) / HISTORY).get("settings")
    except MiniloraError:  # a result of other tools has none, and can be used as well
        return {}
    return settings if isinstance(settings, dict) else {}
