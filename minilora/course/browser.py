"""The course in a page of the site: run a cell, keep what was answered, and know it again on the next page.

The worker of the page (lessons/live/python.js) calls these functions. They need no browser, so tests call them too.
"""

import ast
import json
import linecache
import sys
import traceback
from pathlib import Path

from ..errors import ConfigError
from ..files.atomic import write_text
from . import answering, lesson
from .runner import exercise, file_name

LONGEST = 20_000  # characters of an error that the page shows


def run_cell(source: str, name: str, names: dict | None = None) -> str:
    """Run a cell as a notebook does: the value of its last line is printed. Returns the error in words, "" without one.

    name: how an error calls the cell, "cell 3". names: where its names live; None: in __main__.
    """
    names = vars(sys.modules["__main__"]) if names is None else names
    linecache.cache[name] = len(source), None, source.splitlines(keepends=True), name
    try:
        _print_value(_last_value(source, name, names))
        sys.stdout.flush()
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: they end the cell, not the page
        return _traceback(error, name)
    return ""


def _last_value(source, name, names):  # runs all lines; None where the last is no expression, or ends in ";"
    tree = ast.parse(source, name)
    shown = tree.body and isinstance(tree.body[-1], ast.Expr) and not source.rstrip().endswith(";")
    last = tree.body.pop() if shown else None
    exec(compile(tree, name, "exec"), names)
    return eval(compile(ast.Expression(last.value), name, "eval"), names) if isinstance(last, ast.Expr) else None


def _print_value(value):
    if value is not None:
        print(repr(value))


def _traceback(error, name):
    at = error.__traceback__
    while at is not None and at.tb_frame.f_code.co_filename != name:
        at = at.tb_next  # the frames of this file say nothing to a student
    text = "".join(traceback.format_exception(type(error), error, at)).rstrip()
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n(the error is longer; the page shows no more)"


_told: dict[str, object] = {}  # number -> the verdict that the page has been told of


def kept() -> str:
    """What the page keeps after a cell, as JSON: states of exercises, files with the answers, predictions, notes.

    {"states": {"6.1": "passed"}, "files": {"lesson_06.py": text}, "predictions": {question: ...}, "notes": [text]}.
    Only lessons in which something was checked since the last call have a file.
    """
    verdicts = answering.verdicts()
    changed = sorted({exercise(n).lesson for n, verdict in verdicts.items() if _told.get(n) is not verdict})
    _told.update(verdicts)
    files, notes = {}, []
    for number in changed:
        try:
            files[file_name(number)] = answering.as_file(number)
        except (ConfigError, OSError, TypeError) as error:
            notes.append(f"the answers of lesson {number} are not kept: {error}")
    found = {
        "states": {number: verdict.state for number, verdict in verdicts.items()},
        "files": files,
        "predictions": lesson.predicted(),
        "notes": notes,
    }
    return json.dumps(found)


def recall(text: str, folder: str | Path) -> None:
    """Know the answers again that the page has kept: JSON with "states" and "files" as `kept` writes them.

    Nothing is judged again. An answer whose file does not load is left out. The files are written into `folder` and
    stay there, since the lines of a function are read from its file.
    """
    known = json.loads(text)
    for name, lines in known["files"].items():
        write_text(Path(folder) / name, lines)
    answering.recall_answers(folder, known["states"])
    _told.update(answering.verdicts())
