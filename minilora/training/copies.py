"""Copies of a model in the middle of its training: the last few, each in a folder of its own beside the result."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from ..errors import ConfigError

NAME = re.compile(r"checkpoint-([0-9]{1,9})")  # as Hugging Face's Trainer names them: the step


class Copies:
    """Callback: every `every` steps it saves the model in `folder`/checkpoint-STEP, and keeps the last `most` of these.

    save: function (folder) that writes the model there. resume: whether a run goes on; a new run removes the copies of
    the one that it replaces, as soon as it has one of its own.
    """

    def __init__(self, folder: Path, save: Callable, every: int, most: int, resume: bool):
        self.folder, self.save, self.every, self.most, self.resume = folder, save, every, most, resume

    def __call__(self, run):
        if run.loss is None or not (run.step % self.every == 0 or run.last):
            return
        own = [step for step in found(self.folder) if step < run.step] if self.resume else []
        self.save(self.folder / f"checkpoint-{run.step}")
        kept = sorted([*own, run.step])[-self.most :]
        for step in found(self.folder).difference(kept):
            shutil.rmtree(self.folder / f"checkpoint-{step}", ignore_errors=True)
        self.resume = True  # from now on the copies that are there are its own


def check_copies(folder: Path, most: int, replace: bool) -> None:
    """Raises ConfigError for fewer than one copy, or for a folder with copies that may not be replaced."""
    if most < 1:
        raise ConfigError(f"save_total_limit {most}: expected at least 1")
    if (steps := found(folder)) and not replace:
        raise ConfigError(f"{folder} already contains checkpoint-{max(steps)}; choose another folder or pass overwrite")


def found(folder: Path) -> set[int]:
    """The steps of the copies in `folder`."""
    names = (NAME.fullmatch(path.name) for path in folder.glob("checkpoint-*") if path.is_dir())
    return {int(name[1]) for name in names if name}
