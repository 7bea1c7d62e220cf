"""What a person sees of long work: a bar in a terminal, plain lines or nothing where there is none (a file, a pipe)."""

import sys
import time


def tracked(items, what, stream=None):  # something with a length -> iterator
    """The items one after the other; in a terminal with a bar and the time left, removed after the last item."""
    stream = stream or sys.stderr
    if not stream.isatty():
        return iter(items)
    from rich.console import Console
    from rich.progress import track

    return iter(track(items, what, console=Console(file=stream), transient=True))


def new_bar(stream, what, *columns: str):
    """A bar for a terminal: `what`, how many of how many are done, these columns in rich's markup, the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    texts = map(TextColumn, columns)
    return Progress(
        TextColumn(what), BarColumn(), MofNCompleteColumn(), *texts, TimeRemainingColumn(),
        console=Console(file=stream), refresh_per_second=2,
    )  # fmt: skip


class Progress:
    """Callback and context: loss, tokens per second, time left. The loss is the one that `history` read last."""

    def __init__(self, history, stream=None):
        self.history, self.stream = history, stream or sys.stderr
        self.bar = self.began = None
        self.shown = 0  # evaluations printed so far

    def __call__(self, run):
        if self.began is None:
            self.began, self.first = time.perf_counter(), run.step
            self.shown = max(0, len(self.history.valid) - 1)
            if self.stream.isatty():
                self._show_bar(run)
        if self.bar:
            self.bar.update(self.task, completed=run.step, loss=self._loss(), speed=self._speed(run))
        for step, loss in self.history.valid[self.shown :]:
            pace = "" if self.bar or run.loss is None else f", {self._speed(run)}, {self._time_left(run)}"
            self._print(f"step {step:>5} of {run.steps}: loss {self._loss()}, validation {loss:.4f}{pace}")
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
            self.bar.refresh()  # otherwise rich draws the bar of half a second ago under the new line
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
