"""What a student has handed in: files of exercises under any name, notebooks, and the file of a page of the site.

A file belongs to a lesson by its name (lesson_06.py, "lesson_06 (1).py") or, failing that, by the functions in it. Of a
notebook only the imports and the function definitions are used; the last definition of a name wins. The page's file
(Save answers) has the text of each lesson_06.py.
"""

import ast
import json
import re
from dataclasses import dataclass
from pathlib import Path

from . import runner
from .judge import Verdict
from .runner import LESSONS, exercise, exercises, file_name

LARGEST = 20 * 2**20  # bytes of a notebook with its figures
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)  # what ast.parse raises; the last two: too deep
NOTED = ("exec", "eval", "compile", "open", "__import__")  # functions whose use a teacher wants to know of


@dataclass(frozen=True)
class Answers:
    """A file with answers. text: those of a notebook or a page as Python, None for a Python file; uses: see used_in."""

    path: Path
    text: str | None
    uses: str

    def check(self, number: str) -> Verdict:
        """The verdict on one exercise of this file."""
        exact = self.text is None and self.path.name == file_name(exercise(number).lesson)
        verdict = runner.check(number, self.path.parent) if exact else runner.check_file(number, self.path, self.text)
        verdict.file, verdict.uses = self.path.name, self.uses
        return verdict


def answers(folder: Path) -> dict[int, list[Answers]]:
    """The files in `folder` with answers, by lesson: those named for it first, then other files, notebooks last."""
    names = {e.function: lesson for lesson in LESSONS for e in exercises(lesson)}
    found: dict[int, list[tuple[tuple, Answers]]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in (".py", ".ipynb", ".json") or not path.is_file() or path.stat().st_size > LARGEST:
            continue
        if path.suffix.lower() == ".json":
            for lesson, those in of_page(path).items():
                found.setdefault(lesson, []).append(((True, True, True, []), those))
            continue
        notebook = path.suffix.lower() == ".ipynb"
        text = _notebook_text(path) if notebook else path.read_text(encoding="utf-8-sig", errors="replace")
        by_name = None if notebook else lesson_named(path.name)
        lessons = {by_name} if by_name is not None else {names[f] for f in _defined(text) if f in names}
        for lesson in lessons & set(LESSONS):
            order = (notebook, path.name != file_name(lesson), by_name is None, [-n for n in _numbers(path.stem)])
            found.setdefault(lesson, []).append((order, Answers(path, text if notebook else None, used_in(text))))
    return {lesson: [a for _, a in sorted(those, key=lambda pair: pair[0])] for lesson, those in found.items()}


def of_page(path: Path) -> dict[int, Answers]:
    """The answers by lesson in a file that a page of the site has saved; {} for any other file."""
    try:
        files = json.loads(path.read_text(encoding="utf-8-sig"))["files"]
        texts = {lesson_named(name): text for name, text in files.items() if isinstance(text, str)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    texts = {lesson: text.encode(errors="replace").decode() for lesson, text in texts.items()}  # "\\ud800" is no text
    return {lesson: Answers(path, text, used_in(text)) for lesson, text in texts.items() if lesson in LESSONS}


def check(number: str, files: dict[int, list[Answers]]) -> Verdict:
    """The verdict on one exercise: of the first file in which it is started, else of the first file."""
    those = files.get(exercise(number).lesson, [])
    verdicts = []
    for answer in those:
        verdicts.append(answer.check(number))
        if verdicts[-1].state not in ("not started", "does not load"):
            return verdicts[-1]
    return verdicts[0] if verdicts else Verdict("no file", message=f"no file for lesson {exercise(number).lesson}")


def lesson_named(name: str) -> int | None:
    """The lesson that the name of a file stands for: 6 for "lesson_06 (1).py", "Lesson 6.py", "ada_lesson_06.py"."""
    match = re.search(r"(?<![a-z])lesson[ _-]?(\d{1,2})(?!\d)", name.lower())
    return int(match[1]) if match else None


def _numbers(stem):  # "lesson_06 (1)" -> [6, 1]: the later of two copies is first
    return [int(n[:9]) for n in re.findall(r"\d+", stem)]


def _notebook_text(path):
    """The functions of a notebook and the imports that they need, as Python text; "" for what is no notebook."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8-sig"))["cells"]
        sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    imports, functions = [], {}
    for source in sources:
        for node in _statements(source):
            if isinstance(node, ast.Import | ast.ImportFrom):
                imports.append(node)
            elif isinstance(node, ast.FunctionDef):
                functions.pop(node.name, None)
                functions[node.name] = ast.unparse(node)
    used = _used(functions)
    needed = [ast.unparse(node) for node in imports if _bound(node) & used]
    return "\n\n".join([*dict.fromkeys(needed), *(f for name, f in functions.items() if name in used)]) + "\n"


def _used(functions):  # -> the names in the functions of exercises, and in those that they use; the lesson has others
    used, waiting = set(), [e.function for lesson in LESSONS for e in exercises(lesson) if e.function in functions]
    while waiting:
        name = waiting.pop()
        names = {n.id for n in ast.walk(ast.parse(functions[name])) if isinstance(n, ast.Name)} | {name}
        waiting += [n for n in names - used if n in functions and n != name]
        used |= names
    return used


def _statements(source):  # of a cell, without lines for the notebook itself; [] for a cell that is no Python
    lines = ["pass" if line.lstrip()[:1] in ("%", "!") else line for line in source.splitlines()]
    try:
        return [] if source.lstrip().startswith("%%") else ast.parse("\n".join(lines)).body
    except UNREADABLE:
        return []


def _bound(node):  # the names that an import defines
    return {(name.asname or name.name).partition(".")[0] for name in node.names}


def _tree(text):
    try:
        return ast.parse(text)
    except UNREADABLE:
        return ast.Module([], [])


def _defined(text):
    return [node.name for node in _tree(text).body if isinstance(node, ast.FunctionDef)]


def used_in(text: str) -> str:
    """The modules that a file imports and the functions of NOTED that it calls: "exec, math, numpy"."""
    found = set()
    for node in ast.walk(_tree(text)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
        elif isinstance(node, ast.Name) and node.id in NOTED:
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and node.attr in (*NOTED, "read_text", "write_text", "import_module"):
            found.add(node.attr)
    return ", ".join(sorted(found))


def state_of(folder: Path) -> dict[str, tuple[int, int]]:
    """The size and time of every file in a folder, to see whether a check has changed one."""
    return {p.name: (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.iterdir() if p.is_file()}
