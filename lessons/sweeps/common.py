"""What the sweeps share: each makes rows of numbers, written with the command, seeds and versions beside them."""

import hashlib
import platform
import time
from pathlib import Path

import numpy as np

import minilora
from minilora.files import write_json
from minilora.shipped import shipped

RESULTS = Path(__file__).parents[1] / "results"


class Sweep:
    """Collects rows and writes lessons/results/<name>.json after each, so that an interrupted sweep is not lost."""

    def __init__(self, name, seeds, **more):
        self.name, self.seeds, self.more, self.rows = name, seeds, more, []
        self.began = time.process_time()

    def add(self, **row):
        self.rows.append({k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()})
        print(row, flush=True)
        self.write()

    def write(self):
        versions = {"minilora": minilora.__version__, "numpy": np.__version__, "python": platform.python_version()}
        made_by = {
            "command": f"python lessons/sweeps/{self.name}.py", "seeds": list(self.seeds), "versions": versions,
            "seconds": round(time.process_time() - self.began), "base": base_digest(),
        }
        write_json(RESULTS / f"{self.name}.json", {"made_by": made_by, "rows": self.rows} | self.more)


def base_digest():
    """Which base the rows were measured on; a test compares it with the base that ships."""
    return hashlib.sha256(shipped("base/model.safetensors").read_bytes()).hexdigest()[:16]
