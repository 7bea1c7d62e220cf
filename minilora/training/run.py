"""A training of a ready model with ready batches: evaluated, saved, resumed, drawn, stopped by Ctrl-C.

`loop.train` takes the steps. This file adds what every longer training needs, by callbacks.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..display.plots import loss_curve
from ..display.progress import Progress
from ..errors import TrainingError
from ..files.atomic import write_json
from .callbacks import Evaluation, History, LastGood, Saving, StopOnInterrupt
from .loop import train
from .optim import Optimizer, Schedule
from .resume import FILE, load_state, save_state

HISTORY = "history.json"  # beside the result: every loss, and the settings


@dataclass
class Result:
    """A finished training. step: the last one; interrupted: Ctrl-C ended it before its last step."""

    model: Any
    history: History
    step: int
    interrupted: bool = False


def run_training(
    model,
    batches,
    optimizer: Optimizer,
    steps: int,
    *,
    schedule: Schedule | None = None,
    accumulate: int = 1,
    rng: np.random.Generator | None = None,
    valid: Sequence = (),
    eval_every: int = 25,
    out: str | Path | None = None,
    save_model: Callable[[], None] | None = None,
    settings: dict | None = None,
    resume: bool = False,
    progress: bool = False,
    plot: bool = False,
    callbacks: Sequence = (),
) -> Result:
    """Train `model` for `steps` steps.

    batches     iterator of (ids, labels), see `loop.train`; to be saved it needs `state()` and `restore(state)`
    schedule    function step -> factor of the learning rate; None: constant
    accumulate  batches per step
    rng         for dropout
    valid       batches for the validation loss, measured every `eval_every` steps
    out         a folder: every `eval_every` steps `save_model()` writes the model there, and the run is saved beside it
    settings    any JSON values, kept with the run
    resume      go on with the run saved in `out`
    progress    show loss, speed and time left on standard error
    plot        draw the losses into loss.png in `out`

    With `out`, the first Ctrl-C ends the run after the current step, saves it and returns; without, Ctrl-C raises
    KeyboardInterrupt as usual. Raises TrainingError when a loss is not finite: the model then has the last good
    weights, which are also saved in `out`.
    """
    history = History()
    out = None if out is None else Path(out)
    start = load_state(out, model, optimizer, batches, rng, history) if resume else 0
    good, saved_steps = LastGood(history), []

    def save(run):
        saved_steps.append(run.step)
        save_model()
        save_state(out, run, history, settings)
        write_history(out, history, settings)

    with contextlib.ExitStack() as stack:
        stack.enter_context(np.errstate(over="ignore", invalid="ignore"))  # History stops a run that overflows
        hung = [history, Evaluation(valid, history, eval_every)]
        if progress:
            hung.append(stack.enter_context(Progress(history)))
        if out is not None:
            hung = [stack.enter_context(StopOnInterrupt()), *hung, Saving(save, eval_every)]
        try:
            run = train(model, batches, optimizer, steps, schedule, accumulate=accumulate, rng=rng, start=start,
                        callbacks=[*hung, good, *callbacks])  # fmt: skip
        except TrainingError as error:
            step = good.restore(optimizer.params)
            if step and out is not None:
                save_model()
                write_history(out, history, settings)
                if not (saved_steps or resume):  # the state there is of a run that this one replaces
                    (out / FILE).unlink(missing_ok=True)
            raise TrainingError(f"{error}; {_what_is_left(step, out)}") from error
    if plot and out is not None:
        loss_curve(history, out / "loss.png")
    return Result(model, history, run.step, interrupted=run.step < steps)


def write_history(out: Path, history: History, settings: dict | None) -> None:
    write_json(out / HISTORY, history.as_json() | {"settings": settings})


def _what_is_left(step, out):  # last good step or None, folder or None -> the end of an error line
    if not step:
        return "nothing was learned before it, so nothing is saved"
    place = "are in the model" if out is None else f"are saved in {out}"
    return f"the last good weights, those of step {step}, {place}"
