"""One case: a folder with files, a command to run there, and what is known of it."""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Case:
    """The generators fill it.

    work    the folder of the case, the current folder of the command
    good    folder with sound bases, adapters, runs and data (see sound.py)
    argv    the command line behind `minilora`
    wrong   why success would be a fault; "" when that is not known
    long    the command may rightly take longer than the limit; it is then ended by SIGTERM
    outs    names in `work` that the command may change when it succeeds
    signal  (seconds, number of a signal) that it gets on its way
    codes   exit codes beside 0 and 2
    """

    number: int
    kind: str
    rng: random.Random
    work: Path
    good: Path
    argv: list = field(default_factory=list)
    stdin: bytes = b""
    wrong: str = ""
    long: bool = False
    outs: tuple = ("out",)
    signal: tuple | None = None
    codes: tuple = ()
    note: str = ""

    def take(self, name: str, as_name: str | None = None) -> Path:
        """A copy of a sound file or folder in the folder of the case."""
        source, target = self.good / name, self.work / (as_name or Path(name).name)
        if source.is_dir():
            shutil.copytree(source, target, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(source, target)
        return target


Generator = Callable[[Case], None]


def generators() -> dict[str, Generator]:
    """{kind: the function that fills a case of it}, in a fixed order."""
    from . import adapters, bases, options, rows, runs, signals, templates, tokenizers

    return {
        "rows": rows.fill, "bases": bases.fill, "tokenizers": tokenizers.fill, "templates": templates.fill,
        "adapters": adapters.fill, "runs": runs.fill, "options": options.fill, "signals": signals.fill,
    }  # fmt: skip


TURNS = ("rows", "bases", "tokenizers", "templates", "adapters", "runs", "options", "bases", "adapters", "runs",
         "options", "rows", "templates", "tokenizers", "options", "signals")  # fmt: skip


def build(seed: int, number: int, work: Path, good: Path) -> Case:
    """Case `number` of `seed`, its files in the empty folder `work`."""
    kind = TURNS[number % len(TURNS)]
    case = Case(number, kind, random.Random(f"{seed}/{number}"), work, good)
    generators()[kind](case)
    return case
