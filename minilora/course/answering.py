"""Answer an exercise where you read it: the lesson's cell calls `check("6.1", lora_forward)`.

The functions here run in the kernel of the notebook. A function that never ends is ended by an interrupt, and nothing
protects the kernel from it, so this is never a grade: `minilora check` judges a file in its own process.
"""

import ast
import contextlib
import inspect
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType

from ..errors import ConfigError
from ..files.atomic import is_taken, write_text
from ..files.shipped import shipped
from .alike import alike
from .judge import Verdict, judge, with_lines
from .messages import Printed, in_words, own_lines
from .mutants import solution
from .runner import LESSONS, exercise, exercises, file_name, verdict_lines, why_missing
from .submission import find_function

_checked: dict[str, tuple[Callable, Verdict]] = {}  # the last check of each exercise in this kernel
in_use: set[str] = set()  # the exercises whose answers the lesson computes with


def check(number: str, function: Callable) -> None:
    """Judge your function for exercise `number`, "6.1", and print what holds and what does not.

    Raises UnknownNameError for a number that is no exercise.
    """
    chosen = exercise(number)
    if not callable(function):
        print(f"{number}: check takes your function, as in check({number!r}, {chosen.function}), without a call")
        return
    printed = Printed(300)

    def called(*arguments):  # what it prints is kept when the judge listens, not while it looks for known mistakes
        try:
            return function(*arguments)
        finally:
            printed.listening = False

    try:
        with contextlib.redirect_stdout(printed):
            verdict = judge(chosen, called, before_call=printed.clear)
    except KeyboardInterrupt:
        print(f"{number}: you ended the check; is there a loop in {chosen.function} that does not end?")
        return
    if verdict.error is not None:
        with_lines(verdict, own_lines(verdict.error, _file_of(function), ""), in_words(verdict.error))
    if printed.text.strip() and verdict.state == "failed":
        verdict.message += f"\nyour code printed: {printed.text.strip()}{' ...' if printed.full else ''}"
    if verdict.state != "not started" or number not in _checked:  # a stub that runs again loses no answer
        _checked[number] = function, verdict
    print("\n".join(verdict_lines(chosen, verdict, hint=f'hint("{number}")', here=True)))


def _file_of(function):  # the name under which Python knows the cell or file of the function
    return Path(function.__code__.co_filename) if isinstance(function, FunctionType) else Path()


def hint(number: str, level: int = 1) -> None:
    """Print a hint for exercise `number`. level 1: a nudge; 2: a sketch; 3: almost the answer."""
    chosen = exercise(number)
    if level not in (1, 2, 3):
        raise ConfigError(f"level {level!r}: expected 1, 2 or 3")
    print(f"{number}  {chosen.title}, hint {level} of {len(chosen.hints)}\n\n{chosen.hints[level - 1]}")
    if level < len(chosen.hints):
        print(f'\nThe next: hint("{number}", {level + 1})')


def progress() -> None:
    """Print every lesson with the state of its exercises, as `check` or `load_answers` found them in this kernel."""
    passed = 0
    total = 0
    for lesson in LESSONS:
        states = [(e.number, _state(e.number)) for e in exercises(lesson)]
        passed += sum(state == "passed" for _, state in states)
        total += len(states)
        print(f"lesson {lesson:>2}   " + "   ".join(f"{number} {state}" for number, state in states))
    print(f"\n{passed} of {total} passed in this kernel")


def _state(number):
    return _checked[number][1].state if number in _checked else "-"


def answer(number: str) -> Callable:
    """Your function for exercise `number` when its last check passed, else the course's own. A line says which."""
    chosen = exercise(number)
    if _state(number) == "passed":
        print(f"{number}: the lesson goes on with your {chosen.function}")
        in_use.add(number)
        return alike(_checked[number][0], chosen)
    in_use.discard(number)
    why = {"-": "is not checked yet", "failed": "is not right yet"}.get(_state(number), "is not written yet")
    print(f"{number}: your {chosen.function} {why}; the lesson goes on with the course's own")
    return solution(chosen.lesson, chosen.function)[0]


def load_answers(folder: str | Path) -> None:
    """Check the functions in `folder`/lesson_06.py and its neighbours, so that `answer` and `progress` know them.

    Raises ConfigError when the folder has none.
    """
    folder = Path(folder)
    lessons = [lesson for lesson in LESSONS if (folder / file_name(lesson)).is_file()]
    if not lessons:
        raise ConfigError(f"no {file_name(LESSONS[0])} to {file_name(LESSONS[-1])} in {folder}")
    for lesson in lessons:
        path = (folder / file_name(lesson)).resolve()
        for e in exercises(lesson):
            function, why, names = _function_in(path, e.function)
            if function is None:
                print(f"{e.number}  {e.function}: does not load: {why_missing(why, names, e.function, path)}")
            else:
                check(e.number, function)


def _function_in(path, name):  # -> what find_function returns; sys.path stays as it is
    before = list(sys.path)
    found = find_function(path, name)
    sys.path[:] = before
    return found


def recall_answers(folder: str | Path, states: dict[str, str]) -> None:
    """Know the functions in `folder`/lesson_06.py and its neighbours with the `states` that an earlier kernel found.

    states: {"6.1": "passed"}. Nothing is judged again; a function that does not load is left out, and so is a number
    that the course does not have: it was kept by another version.
    """
    known = {e.number: e for lesson in LESSONS for e in exercises(lesson)}
    for number, state in states.items():
        if number not in known:
            continue
        e = known[number]
        path = (Path(folder) / file_name(e.lesson)).resolve()
        function = _function_in(path, e.function)[0] if path.is_file() else None
        if function is not None:
            _checked[number] = function, Verdict(state)


def verdicts() -> dict[str, Verdict]:
    """The verdict of the last check of each exercise in this kernel, by number."""
    return {number: verdict for number, (_, verdict) in _checked.items()}


# ---- writing the answers into files


def save_answers(folder: str | Path, overwrite: bool = False) -> None:
    """Write the functions that you have checked into `folder`/lesson_06.py and its neighbours, to hand them in.

    A file has the imports and the functions of yours that the answers use; an exercise that you have not checked is in
    it as a stub. Raises ConfigError when a file exists, unless `overwrite`.
    """
    folder = Path(folder)
    lessons = sorted({exercise(number).lesson for number in _checked})
    if not lessons:
        raise ConfigError("no answers to save: check your functions first")
    texts = {folder / file_name(lesson): as_file(lesson) for lesson in lessons}
    if not overwrite and (there := [str(path) for path in texts if is_taken(path)]):
        raise ConfigError(f"{', '.join(there)} exists: save_answers({str(folder)!r}, overwrite=True) replaces it")
    for path, text in texts.items():
        write_text(path, text)
        print(f"written  {path}")


def as_file(lesson: int) -> str:
    """The text of lesson_06.py, with your checked functions. Raises ConfigError for one that is no `def`."""
    needed: dict[str, str] = {}  # name -> the lines that define it, after those that they use
    for e in exercises(lesson):
        if e.number in _checked:
            function = _checked[e.number][0]
            if not isinstance(function, FunctionType) or function.__name__ == "<lambda>":
                raise ConfigError(f"{e.number} cannot be saved: write it as `def {e.function}(...)` and check it again")
            _collect(function, needed)
            if function.__name__ != e.function:
                needed[e.function] = f"{e.function} = {function.__name__}"
    for node in ast.parse(shipped(f"lessons/exercises/{file_name(lesson)}").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name not in needed:
            needed[node.name] = ast.unparse(node)
    imports = [text for text in needed.values() if text.startswith(("import ", "from "))]
    rest = [text for text in needed.values() if text not in imports]
    return "\n".join(sorted(imports)) + "\n\n\n" + "\n\n\n".join(rest) + "\n"


def _collect(function, needed):
    """Add the imports, numbers and functions that `function` uses to `needed`, and then the function itself."""
    source = textwrap.dedent(inspect.getsource(function)).rstrip()
    needed[function.__name__] = ""  # a function that calls itself is not collected twice
    for name in sorted({node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}):
        if name in needed or name not in function.__globals__:
            continue
        value = function.__globals__[name]
        if isinstance(value, FunctionType) and value.__module__ == function.__module__:
            _collect(value, needed)
        elif line := _defining_line(name, value):
            needed[name] = line
    del needed[function.__name__]
    needed[function.__name__] = source


def _defining_line(name, value):  # -> "import numpy as np", "from math import sqrt", "HALF = 0.5" or ""
    if isinstance(value, ModuleType):
        return f"import {value.__name__}" + ("" if name == value.__name__ else f" as {name}")
    if hasattr(value, "__qualname__"):
        renamed = "" if name == value.__qualname__ else f" as {name}"
        return f"from {value.__module__} import {value.__qualname__}{renamed}"
    return f"{name} = {value!r}" if isinstance(value, int | float | str | tuple | list | dict) else ""
