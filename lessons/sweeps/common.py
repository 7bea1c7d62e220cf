"""A sweep measures the rows of numbers that a lesson replays. This is the part that all sweeps share."""

import hashlib
import time
from functools import partial
from pathlib import Path

from benchmarks.pool import processes
from benchmarks.rows import Rows
from minilora.files.atomic import read_json

SWEEPS = Path(__file__).parent
RESULTS = SWEEPS.parent / "results"


class Sweep(Rows):
    """The rows of lessons/results/<name>.json, printed and saved as they are measured, with the seconds they took.

    An interrupted sweep goes on where it stopped. It starts from the beginning when the script, the base, the seeds
    or the versions have changed since: rows of two kinds do not belong in one table. So does a finished one.
    """

    def __init__(self, name, seeds, folder=RESULTS):
        self.script = hashlib.sha256((SWEEPS / f"{name}.py").read_bytes()).hexdigest()[:16]
        self.seconds_before, self.began = 0, time.process_time()
        command = f"python -m lessons.sweeps.{name}"
        super().__init__(folder / f"{name}.json", command=command, seeds=list(seeds))
        if self.rows:
            print(f"going on after {len(self.rows)} rows of {self.part}", flush=True)

    def saved_rows(self):
        if not self.part.is_file():
            return []
        saved = read_json(self.part)
        seconds = saved["made_by"].pop("seconds")
        if (saved["made_by"], saved["script"]) != (self.made_by, self.script):
            return []
        self.seconds_before = seconds
        return saved["rows"]

    def measure(self, rows_of, settings, workers=1):
        """Add the rows of the settings that have none: rows_of(**setting) gives them, on so many processes."""
        missing = [setting for setting in settings if not self.find(setting)]
        with processes(workers) as each:
            for rows, seconds in each(partial(timed, rows_of), missing):
                if workers > 1:
                    self.seconds_before += seconds  # of another process
                self.add(*rows)

    def add(self, *rows):
        for row in rows:
            print(row, flush=True)
        rounded = [{k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()} for row in rows]
        super().add(*rounded, script=self.script)

    def write(self, path, **more):
        self.made_by["seconds"] = round(self.seconds_before + time.process_time() - self.began)
        super().write(path, **more)


def timed(rows_of, setting):  # function, dict -> its rows, and the seconds of CPU that they took
    began = time.process_time()
    return list(rows_of(**setting)), time.process_time() - began
