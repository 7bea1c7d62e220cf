"""The rows of an experiment in a JSON file; after an interruption the experiment goes on where it stopped."""

import json
import platform

import numpy as np

import minilora
from minilora.errors import MiniloraError
from minilora.files.atomic import read_json, write_text
from minilora.files.shipped import base_digest


class Rows:
    """Rows {settings..., measures...}, and `made_by`: the command, seeds, base and versions that measured them.

    `add` rewrites NAME.part after each row. `finish` makes NAME.json of it, so NAME.json is always complete. Raises
    MiniloraError when the file was measured on another base: rows of two bases are never mixed.
    """

    def __init__(self, path, **made_by):
        self.path, self.part = path, path.with_suffix(".part")
        versions = {"minilora": minilora.__version__, "numpy": np.__version__, "python": platform.python_version()}
        self.made_by = made_by | {"base": base_digest(), "versions": versions}
        self.rows = self.saved_rows()

    def saved_rows(self):  # -> [dict]
        source = self.part if self.part.is_file() else self.path
        if not source.is_file():
            return []
        saved = read_json(source)
        if saved["made_by"]["base"] != self.made_by["base"]:
            raise MiniloraError(f"{source} was measured on another base; delete it to measure again")
        return saved["rows"]

    def find(self, settings):  # dict -> the row with these values, or None
        return next((row for row in self.rows if settings.items() <= row.items()), None)

    def add(self, *rows, **more):
        """Add rows that were measured together, and write NAME.part, with `more` beside the rows."""
        self.rows += rows
        self.write(self.part, **more)

    def finish(self, **more):
        """Write NAME.json, with `more` beside the rows, and delete NAME.part; without new rows change nothing."""
        if self.part.is_file():
            self.write(self.path, **more)
            self.part.unlink()

    def write(self, path, **more):  # a row is one line
        head = json.dumps({"made_by": self.made_by} | more, indent=2, sort_keys=True, ensure_ascii=False)[:-2]  # "\n}"
        rows = ",\n".join("    " + json.dumps(row, ensure_ascii=False) for row in self.rows)
        write_text(path, f'{head},\n  "rows": [\n{rows}\n  ]\n}}\n')
