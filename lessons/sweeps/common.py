"""What the sweeps share: each makes rows of numbers, written with the command, seeds and versions beside them."""

import hashlib
import json
import platform
import time
from pathlib import Path

import numpy as np

import minilora
from minilora.files.atomic import write_json
from minilora.files.shipped import base_digest

SWEEPS = Path(__file__).parent
RESULTS = SWEEPS.parent / "results"


class Sweep:
    """Collects rows in lessons/results/<name>.part, written after each; `finish` makes <name>.json of it.

    A sweep that was interrupted goes on where it stopped: `has` says which rows are there. It begins again when the
    script, the base, the seeds or the versions are others than then: rows of two kinds do not belong in one table.
    """

    def __init__(self, name, seeds, folder=RESULTS):
        script = SWEEPS / f"{name}.py"
        versions = {"minilora": minilora.__version__, "numpy": np.__version__, "python": platform.python_version()}
        self.made_by = {
            "command": f"python lessons/sweeps/{name}.py",
            "seeds": list(seeds),
            "versions": versions,
            "base": base_digest(),
        }
        self.script = hashlib.sha256(script.read_bytes()).hexdigest()[:16]
        self.part, self.result = folder / f"{name}.part", folder / f"{name}.json"
        self.rows, self.before = self._interrupted()
        self.began = time.process_time()
        if self.rows:
            print(f"going on after {len(self.rows)} rows of {self.part}", flush=True)

    def _interrupted(self):  # -> rows, seconds
        if not self.part.is_file():
            return [], 0
        there = json.loads(self.part.read_text(encoding="utf-8"))
        seconds = there["made_by"].pop("seconds")
        same = (there["made_by"], there["script"]) == (self.made_by, self.script)
        return (there["rows"], seconds) if same else ([], 0)

    def has(self, **setting):
        """Is there a row with these values?"""
        return any(all(row.get(k) == v for k, v in setting.items()) for row in self.rows)

    def add(self, *rows):
        """Rows that were measured together, as dicts: all of them are written, or none."""
        self.rows += [{k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()} for row in rows]
        for row in rows:
            print(row, flush=True)
        write_json(self.part, self._all() | {"script": self.script})

    def finish(self, **more):
        """Write the result, with `more` beside the rows, and forget the part."""
        write_json(self.result, self._all() | more)
        self.part.unlink(missing_ok=True)

    def _all(self):
        seconds = round(self.before + time.process_time() - self.began)
        return {"made_by": self.made_by | {"seconds": seconds}, "rows": self.rows}
