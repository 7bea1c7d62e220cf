"""The progress of long work: a bar in a terminal; in a file or a pipe, lines of text for training and nothing else."""

import math
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, TextIO, TypeVar

Item = TypeVar("Item")


def show_progress(items: Sequence[Item], what: str, stream: TextIO | None = None) -> Iterator[Item]:
    """The items one by one; in a terminal with a bar (named `what`) and the time left, removed after the last item.

    stream: where the bar goes; default: stderr.
    """
    terminal = stream or sys.stderr
    if not terminal.isatty():
        return iter(items)
    from rich.console import Console
    from rich.progress import track

    return iter(track(items, what, console=Console(file=terminal), transient=True))


def new_bar(stream: TextIO, what: str, *columns: str):
    """A rich.progress.Progress for a terminal: the word `what`, a bar, how many are done, `columns`, the time left.

    columns: rich's markup, such as "loss {task.fields[loss]}".
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    texts = map(TextColumn, columns)
    return Progress(
        TextColumn(what), BarColumn(), MofNCompleteColumn(), *texts, TimeRemainingColumn(),
        console=Console(file=stream), refresh_per_second=2,
    )  # fmt: skip


class Progress:
    """A callback of `training.loop.train` that shows loss, tokens per second and time left; use it in a `with` block.

    history: training.callbacks.History, which reads the losses (nats per token). stream: default stderr.
    """

    def __init__(self, history: Any, stream: TextIO | None = None):
        self.history, self.stream = history, stream or sys.stderr
        self.bar: Any = None
        self.began, self.first = math.nan, 0  # perf_counter (seconds) and step of the first call
        self.shown = 0  # evaluations printed so far

    def __call__(self, run: Any) -> None:
        if math.isnan(self.began):
            self.began, self.first = time.perf_counter(), run.step
            self.shown = max(0, len(self.history.valid) - 1)
            if self.stream.isatty():
                self._show_bar(run)
        if self.bar:
            self.bar.update(self.task, completed=run.step, loss=self._loss(), speed=self._speed(run))
        for step, loss in self.history.valid[self.shown :]:
            pace = "" if self.bar or run.loss is None else f", {self._speed(run)}, {self._time_left(run)}"
            term = f", orthogonality {self.history.penalty[-1][1]:.4f}" if self.history.penalty else ""
            self._print(f"step {step:>5} of {run.steps}: loss {self._loss()}, validation {loss:.4f}{term}{pace}")
        self.shown = len(self.history.valid)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.bar:
            self.bar.stop()

    def _show_bar(self, run):
        self.bar = new_bar(self.stream, "training", "loss {task.fields[loss]}", "{task.fields[speed]}")
        self.task = self.bar.add_task("", total=run.steps, completed=run.step, loss="-", speed="")
        self.bar.start()

    def _print(self, line):
        if self.bar:
            self.bar.refresh()  # otherwise rich redraws the bar of half a second ago under the new line
            self.bar.console.print(line, highlight=False)
        else:
            print(line, file=self.stream, flush=True)

    def _loss(self):
        return f"{self.history.mean_loss():.4f}" if self.history.loss else "-"

    def _speed(self, run):
        return f"{run.tokens / max(1e-9, time.perf_counter() - self.began):,.0f} tokens/s"

    def _time_left(self, run):
        seconds = (run.steps - run.step) * (time.perf_counter() - self.began) / (run.step - self.first)
        return f"{seconds:.0f} s left" if seconds < 120 else f"{seconds / 60:.0f} min left"
