"""The parts of lessons/peft.md that tests compare with what really happens."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "lessons" / "peft.md").read_text(encoding="utf-8")


def code(name):
    """The Python block behind <!-- code: name -->."""
    return re.search(rf"<!-- code: {name} -->\n```python\n(.*?)```", PAGE, re.DOTALL)[1]


def traps():  # -> {heading: (what PEFT does, the line printed here)}
    section = PAGE.split("## What PEFT lets pass")[1].split("\n## ")[0]
    found = re.findall(r"^### (.+?)\n(.+?)\n\n    (error: .+?)\n", section, re.DOTALL | re.MULTILINE)
    return {heading: (" ".join(text.split()), line) for heading, text, line in found}


def table(heading):  # -> rows of cells
    lines = PAGE.split(f"## {heading}")[1].split("\n## ")[0].splitlines()
    rows = [re.split(r"\s\|\s", line.strip("| ")) for line in lines if line.startswith("|")]
    return rows[2:]


def calls(cell):  # "`model.merge_adapter()`, `unload()`" -> ["model.merge_adapter", "unload"]
    return [word.split("(")[0].removeprefix("with ") for word in re.findall(r"`([^`]+)`", cell) if "(" in word]
