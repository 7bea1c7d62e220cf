"""Check a student's own file: each exercise in its own process, with a time limit and a memory limit.

The process protects the check from a submission that hangs, crashes or takes all memory. It is no sandbox: the
submission runs with your rights and can read and write your files.
"""

import contextlib
import importlib
import importlib.util
import json
import os
import pkgutil
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import tracemalloc
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..errors import ConfigError, UnknownNameError, nearest
from . import checks
from .judge import Exercise, Verdict, judge

LESSONS = tuple(sorted(int(m.name[-2:]) for m in pkgutil.iter_modules(checks.__path__) if m.name.startswith("lesson_")))
SECONDS = 30  # per exercise; the slowest solution needs less than a second
MEGABYTES = 1024  # per exercise, beyond what Python and NumPy take at the start
MODULE = "minilora.course.runner"
ENDED_OVER_MEMORY = 77  # exit code of a check that exceeded the memory limit


def exercises(lesson: int) -> tuple[Exercise, ...]:
    """The exercises of a lesson. Raises UnknownNameError when there is no such lesson."""
    if lesson not in LESSONS:
        raise UnknownNameError(f"no lesson {lesson}; there are {LESSONS[0]} to {LESSONS[-1]}")
    return importlib.import_module(f".checks.lesson_{lesson:02d}", __package__).EXERCISES


def exercise(number: str) -> Exercise:
    """The exercise of that number, "6.2". Raises UnknownNameError naming the ones there are."""
    lesson = number.partition(".")[0]
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?", number):
        raise UnknownNameError(
            f"no exercise {number[:40]!r}: give a number such as 6.2, and the folder with your files by --dir DIR"
        )
    known = {e.number: e for e in exercises(int(lesson))}
    if number not in known:
        raise UnknownNameError(f"no exercise {number}; lesson {int(lesson)} has {', '.join(known)}")
    return known[number]


def file_name(lesson: int) -> str:  # 6 -> "lesson_06.py"
    return f"lesson_{lesson:02d}.py"


def check(number: str, folder: str | Path, seconds: float = SECONDS, megabytes: int = MEGABYTES) -> Verdict:
    """The verdict of `judge` on the student's function in `folder`/lesson_06.py. Nothing in the file makes it raise."""
    chosen = exercise(number)
    path = Path(folder).resolve() / file_name(chosen.lesson)
    if not path.is_file():
        return Verdict("no file", message=f"there is no {path.name} in {folder}")
    with tempfile.TemporaryDirectory() as temporary:
        report = Path(temporary) / "report.json"
        command = [sys.executable, "-P", "-m", MODULE, str(path), number, str(report), str(megabytes)]
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)  # the same minilora in the new process
        with subprocess.Popen(
            command, cwd=path.parent, env=environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        ) as child:  # fmt: skip
            assert child.stdout
            try:
                child.stdout.readline()  # Python and NumPy are loaded: the submission's time starts now
                code = child.wait(seconds)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                end(child)
        return _verdict(report, code, seconds, megabytes)


def end(child: subprocess.Popen) -> None:
    """End the process and (except on Windows) every process that it has started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(OSError):  # it has ended already
            os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()


def _verdict(report, code, seconds, megabytes):
    """The verdict in the report; without one, the way in which the process ended."""
    saved = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {"passed": [], "failing": ""}
    if "state" in saved:
        saved["paste"] = tuple(saved["paste"])
        return Verdict(**saved)
    where = f' at "{saved["failing"]}"' if saved["failing"] else " while loading the file"
    if code is None:
        why = f"stopped after {seconds:g} seconds{where}: is there a loop that does not end?"
    elif code == ENDED_OVER_MEMORY:
        why = f"stopped{where}: it used more than {megabytes:,} MB of memory"
    else:
        why = f"Python itself ended{where} (exit code {code}): does the code end the process, or run out of memory?"
    return Verdict("stopped", saved["passed"], saved["failing"], why)


# ---- inside the child process


def _child(path, number, report, megabytes):
    """Load the student's file, judge one function, write the report; before each property too, in case one hangs."""
    path, report, chosen = Path(path), Path(report), exercise(number)
    print("ready", flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads any more: C code and programs that print must not block
    printed = sys.stdout = sys.stderr = Printed(300)
    so_far = {"passed": [], "failing": ""}

    def write(verdict):
        temporary = report.with_suffix(".part")
        temporary.write_text(json.dumps(verdict), encoding="utf-8")
        temporary.replace(report)

    def progress(sentence):
        if so_far["failing"]:
            so_far["passed"].append(so_far["failing"])
        so_far["failing"] = sentence
        write(so_far)

    watch_memory(megabytes)
    function, verdict = find_function(path, chosen.function)
    verdict = verdict or judge(chosen, _without_interrupts(function), progress, printed.clear)
    if verdict.error is not None:
        verdict.message = f"{own_lines(verdict.error, path)}\n{verdict.message}".rstrip()
    if printed.text.strip() and verdict.state == "failed":
        verdict.message += f"\nyour code printed: {printed.text.strip()}{' ...' if printed.full else ''}"
    verdict.error = None
    write(asdict(verdict))
    os._exit(0)  # whatever the submission left behind (threads, exit handlers) does not run


def _without_interrupts(function):
    """The same function; a KeyboardInterrupt that it raises becomes a RuntimeError: nobody sits at this process."""

    def call(*arguments):
        try:
            return function(*arguments)
        except KeyboardInterrupt as error:
            raise RuntimeError("KeyboardInterrupt").with_traceback(error.__traceback__) from None

    return call


def find_function(path: Path, name: str) -> tuple:  # -> (function, None) or (None, Verdict)
    """The student's function `name` in the file `path`, or the Verdict that says why it is missing."""
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader  # None only for a name that does not end in .py
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        return None, Verdict("does not load", message=own_lines(error, path))
    function = getattr(module, name, None)
    if not callable(function):
        functions = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
        why = f"no function {name} in {path.name}; it has: {nearest(name, functions)}"
        return None, Verdict("does not load", message=why)
    return function, None


def own_lines(error: BaseException, path: Path, name: str | None = None) -> str:
    """The error and the lines of the student's own file that led to it, without those inside NumPy and minilora.

    name: how to call the file, by default its name; "" for a cell of a notebook.
    """
    file = f"{path.name}, " if name is None else name
    if isinstance(error, SyntaxError | ValueError) and "null bytes" in str(error):  # a ValueError before Python 3.11.4
        return f"{path.name} is not plain text: save it as UTF-8"
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename) == path:
        return f"{path.name}, line {error.lineno}: {(error.text or '').strip()}\n{type(error).__name__}: {error.msg}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path][-4:]
    lines = [f"{file}line {f.lineno}, in {f.name}: {f.line}" for f in frames]
    message = str(error).splitlines()
    shapes = shapes_at(error, path) if isinstance(error, ValueError | IndexError) else []
    return "\n".join([*lines, f"{type(error).__name__}: {message[0][:300] if message else ''}".rstrip(": "), *shapes])


def shapes_at(error, path, most=6):  # -> lines: the shapes of the student's arrays at the error
    tb, names = error.__traceback__, {}
    while tb is not None:
        if Path(tb.tb_frame.f_code.co_filename) == path:
            names = tb.tb_frame.f_locals
        tb = tb.tb_next
    arrays = [f"{name} {value.shape}" for name, value in names.items() if isinstance(value, np.ndarray)][:most]
    return ["the shapes at that line: " + ", ".join(arrays)] if arrays else []


class Printed:
    """The output of the submission: keeps the first characters since `clear`, drops the rest."""

    def __init__(self, limit):
        self.limit = limit
        self.clear()

    def clear(self):
        self.text, self.full = "", False

    def write(self, text):
        self.full = self.full or len(self.text) + len(text.rstrip()) > self.limit
        self.text += text[: self.limit - len(self.text)]
        return len(text)

    def flush(self):
        pass


def watch_memory(megabytes: int) -> None:
    """End this process when Python and NumPy allocate more than the limit from now on.

    Linux also refuses memory above the limit: then the submission gets a MemoryError.
    """
    limit = megabytes * 2**20
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (limit + 2**31, limit + 2**31))  # Python's own address space is large
    except (ImportError, ValueError, OSError):
        pass
    tracemalloc.start(1)

    def watch():
        while True:
            time.sleep(0.05)
            if tracemalloc.get_traced_memory()[0] > limit:
                os._exit(ENDED_OVER_MEMORY)

    threading.Thread(target=watch, daemon=True).start()


# ---- a verdict in words


def verdict_lines(chosen: Exercise, verdict: Verdict, hint: str = "", here: bool = False) -> list[str]:
    """A verdict as a student reads it.

    hint: the call that prints a hint, by default the command; here: the function is in this kernel, not in a file.
    """
    head = f"{chosen.number}  {chosen.function}"
    if verdict.state == "passed":
        return [f"{head}: passed ({len(verdict.passed)} properties)"]
    if verdict.state in ("not started", "no file"):
        return [f"{head}: {verdict.state}{': ' + verdict.message if verdict.state == 'no file' else ''}"]
    lines = [f"{head}: " + {"failed": "not right yet"}.get(verdict.state, verdict.state)]
    lines += [f"    holds        {sentence}" for sentence in verdict.passed]
    if verdict.failing:
        lines.append(f"    fails        {verdict.failing}")
    lines += [f"                 {line}" for line in verdict.message.splitlines()]
    if verdict.paste:
        shown = verdict.paste[1:] if here else verdict.paste
        lines += ["    to see it, paste:", *(f"        {line}" for line in shown)]
    return [*lines, f"    a hint       {hint or f'minilora hint {chosen.number}'}"]


def find_folder(folder: str | Path | None, lesson: int) -> Path:
    """Where the student's files are: `folder`, or the first of here, ./exercises, ./lessons/exercises with the file.

    Raises ConfigError.
    """
    here = Path.cwd()
    places = [Path(folder)] if folder else [here, here / "exercises", here / "lessons" / "exercises"]
    for place in places:
        if (place / file_name(lesson)).is_file():
            return place
    looked = " or ".join(str(p) for p in places)
    raise ConfigError(
        f"no {file_name(lesson)} in {looked}: write the exercises with `minilora exercises DIR`, "
        "or name the folder of yours with --dir DIR"
    )


if __name__ == "__main__":
    _child(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
