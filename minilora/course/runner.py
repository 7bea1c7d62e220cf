"""Check a student's own file: each exercise in its own process, with a time limit and a memory limit.

The submission's process answers calls and the judge stays here, so that nothing in the file reaches the verdict. The
process protects the check from a submission that hangs, crashes or takes all memory. It is no sandbox: the submission
runs with your rights and can read and write your files.
"""

import contextlib
import importlib
import os
import pkgutil
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import numpy as np

from ..errors import ConfigError, UnknownNameError, nearest
from . import checks
from .judge import Exercise, Stopped, Verdict, judge, with_lines
from .submission import ENDED_OVER_MEMORY, START, end_descendants
from .wire import decoded, encoded, frame, read_frame

LESSONS = tuple(sorted(int(m.name[-2:]) for m in pkgutil.iter_modules(checks.__path__) if m.name.startswith("lesson_")))
SECONDS = 30  # per exercise; the slowest solution needs less than a second
MEGABYTES = 1024  # per exercise, beyond what Python and NumPy take at the start


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
    """The verdict of `judge` on the student's function in `folder`/lesson_06.py. Nothing in the file makes it raise.

    The submission's process works on a copy of the folder's files, and only answers calls: all is judged here.
    """
    path = Path(folder) / file_name(exercise(number).lesson)
    if not path.is_file():
        return Verdict("no file", message=f"there is no {path.name} in {folder}")
    return check_file(number, path, seconds=seconds, megabytes=megabytes)


def check_file(
    number: str, path: Path, text: str | None = None, seconds: float = SECONDS, megabytes: int = MEGABYTES
) -> Verdict:
    """The same for a file of any name. text: what to judge instead of it, the Python of a notebook."""
    chosen = exercise(number)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        copy = Path(temporary).resolve() / file_name(chosen.lesson)
        copy_neighbours(path, copy.parent)
        if text is None:
            shutil.copyfile(path, copy)
        else:
            copy.write_text(text, encoding="utf-8")
        return _judged(chosen, copy, seconds, megabytes)


def copy_neighbours(path: Path, target: Path) -> None:
    """Copy the files beside `path` up to 1 MB, without folders."""
    neighbours = [p for p in path.parent.iterdir() if p.is_file() and p.name[0] != "." and p.stat().st_size < 2**20]
    for neighbour in neighbours[:100]:
        with contextlib.suppress(OSError):  # one that cannot be read
            shutil.copyfile(neighbour, target / neighbour.name)


def _judged(chosen, path, seconds, megabytes):
    so_far = []  # sentences of the properties begun: all but the last hold
    with Submission(path, chosen.function, seconds, megabytes) as submission:
        try:
            if failed := submission.load():
                return Verdict("does not load", message=failed)
            verdict = judge(chosen, submission, so_far.append, submission.listen)
        except Stopped as stopped:
            failing = so_far[-1] if so_far else ""
            where = f' at "{failing}"' if failing else " while loading the file"
            return Verdict("stopped", so_far[:-1], failing, str(stopped).format(where=where))
    if isinstance(verdict.error, Remote):
        with_lines(verdict, verdict.error.lines, verdict.error.words)
    if submission.printed and verdict.state == "failed":
        verdict.message += f"\nyour code printed: {submission.printed}"
    verdict.error = None
    return verdict


class Remote(Exception):
    """An error in the submission's process. lines: the student's lines that led to it; words: it as one sentence."""

    def __init__(self, kind, lines, words):
        super().__init__(kind)
        self.kind, self.lines, self.words = kind, lines, words


class Submission:
    """The student's function in its own process: calling it sends the arguments and returns the decoded answer.

    A call raises Remote for an error of the function, NotImplementedError for a stub, and Stopped when the process has
    ended, takes too long or does not answer as agreed. peak: the bytes that the last call took.
    """

    def __init__(self, path, name, seconds, megabytes):
        self.path, self.name, self.seconds, self.megabytes = path, name, seconds, megabytes
        self.printed, self.listening, self.peak = "", False, 0
        self.token = uuid.uuid4().hex
        here = str(Path(__file__).parent)
        command = [sys.executable, "-P", "-c", START, here, str(path), name, str(megabytes)]
        self.process = subprocess.Popen(
            command, cwd=path.parent, env=self._environment(), start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
        )  # fmt: skip
        assert self.process.stdin and self.process.stdout
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.answers = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _environment(self):
        one_thread = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        path = os.pathsep.join(p for p in sys.path if p)  # the same minilora in the new process
        own = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1", "PYTHONPATH": path, "MINILORA_CHECK": self.token}
        return os.environ | one_thread | own

    def _read(self):
        pipe = self.stdout.fileno()
        try:
            while (message := read_frame(lambda n: os.read(pipe, n))) is not None:
                self.answers.put(message)
        except (ValueError, OSError):
            self.answers.put({})  # no message: the submission writes into the pipe itself

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end(self.process, self.token)

    def load(self) -> str | None:
        """Wait until the file is loaded. Returns the reason why the function is missing, or None."""
        self.deadline = time.monotonic() + 60 + self.seconds
        self._next("ready")
        self.deadline = time.monotonic() + self.seconds  # Python and NumPy are loaded: the submission's time starts now
        missing = self._next("missing")["missing"]
        if not missing:
            return None
        why, names = missing
        return why_missing(why, names, self.name, self.path)

    def listen(self):
        """Keep what the next call prints."""
        self.listening = True

    def __call__(self, *arguments):
        listening, self.listening = self.listening, False
        try:
            self.stdin.write(frame({"arguments": [encoded(a) for a in arguments]}))
        except OSError:
            pass  # the process has ended: there is no answer either
        answer = self._next()
        if listening:
            self.printed = _shown(answer.get("printed", ""))[:310]
        if answer.get("error") == "NotImplementedError":
            raise NotImplementedError
        self.peak = int(answer["peak"]) if isinstance(answer.get("peak"), int) else 0
        if answer.get("error"):
            raise Remote(*(_shown(answer.get(key, ""))[:2000] for key in ("error", "lines", "words")))
        try:
            for i, tree in answer.get("changed", {}).items():
                _put_into(arguments[int(i)], decoded(tree))
            return decoded(answer["value"])
        except (ValueError, IndexError, KeyError, AttributeError, TypeError, MemoryError):
            raise Stopped("stopped{where}: the file writes into the pipe of the check") from None

    def _next(self, key=None):
        """The next answer. Raises Stopped when there is none."""
        ended = False
        while time.monotonic() < self.deadline:
            with contextlib.suppress(queue.Empty):
                answer = self.answers.get(timeout=0.05)
                if key is not None and key not in answer:
                    raise Stopped("stopped{where}: the file writes into the pipe of the check")
                return answer
            if ended:
                raise Stopped(self._how_it_ended())
            ended = self.process.poll() is not None  # its last answer may still be on the way
        raise Stopped(f"stopped after {self.seconds:g} seconds{{where}}: is there a loop that does not end?")

    def _how_it_ended(self):
        code = self.process.returncode
        if code == ENDED_OVER_MEMORY:
            return f"stopped{{where}}: it used more than {self.megabytes:,} MB of memory"
        return f"Python itself ended{{where}} (exit code {code}): does the code end the process, or run out of memory?"


def _shown(text):
    """A text of the submission without what would change a terminal: only printable characters and new lines."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in str(text))


def why_missing(why: str, names: list, name: str, path: Path) -> str:
    """Why a file has no function `name`: the error while it was loaded, or the names that it has instead."""
    return _shown(why) or f"no function {name} in {path.name}; it has: {nearest(name, [str(n) for n in names])}"


def _put_into(argument, changed):
    """Give an argument the values that the submission left in its own copy."""
    if isinstance(argument, np.ndarray):
        argument[...] = changed if changed.shape == argument.shape else ~argument.astype(bool)
    elif isinstance(argument, dict):
        argument.clear()
        argument.update(changed)
    elif isinstance(argument, list):
        argument[:] = changed


def end(child: subprocess.Popen, token: str) -> None:
    """End the submission's process and every process that it has started.

    Linux: all below the keeper; and when the submission ended the keeper, those that carry the token. macOS: its
    process group. Windows: the process alone.
    """
    if sys.platform == "linux":
        end_descendants(child.pid)
    if hasattr(os, "killpg"):
        with contextlib.suppress(OSError):  # it has ended already
            os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    if child.wait() < 0 and sys.platform == "linux":
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):  # not our own, or gone
                if token.encode() in Path(f"/proc/{entry}/environ").read_bytes():
                    os.kill(int(entry), signal.SIGKILL)
    for pipe in (child.stdin, child.stdout):
        with contextlib.suppress(OSError):
            if pipe:
                pipe.close()


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
