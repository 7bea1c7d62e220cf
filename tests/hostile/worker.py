"""Runs cases, each in a fork of this process that has everything imported, and says which break the rule."""

import contextlib
import gc
import importlib
import io
import os
import pkgutil
import re
import select
import shutil
import signal
import stat
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path

from .case import build

SECONDS = 12  # of processor time for a case
PATIENCE = 120  # of clock time: other processes may be at work
MEMORY = 1536 * 2**20  # bytes of address space beyond what this process has
FILE_SIZE = 300 * 2**20
STOPPING = {signal.SIGINT, signal.SIGTERM}
LINE = 300  # characters of an error line
WARMING = [  # {good}: the folder of sound files, {out}: an empty one
    ["train", "{good}/pairs.jsonl", "--base", "{good}/base", "--out", "{out}/run", "--steps", "2", "--chat"],
    ["generate", "--base", "{good}/base", "--adapter", "{out}/run", "--prompt", "a", "--max-new-tokens", "2"],
    ["eval", "--base", "{good}/base", "--adapter", "{good}/adapters/plain", "--jsonl", "{good}/pairs.jsonl"],
    ["data", "{good}/pairs.jsonl", "--base", "{good}/base"],
    ["inspect", "{good}/adapters/plain"],
    ["params", "gpt2"],
    ["--help"],
]
SAYING = ("generate", "chat", "tour")  # commands that print what a model writes
BEFORE_AN_ERROR = re.compile(  # what a training may have said before it failed, and what a user is told beside a mistake
    r"note: |the result will be in |training [\d,]+ of |[\d,]+ (rows?|windows?), |[\d,]+ parameters, |step +\d+ |skipped: |memory expected: |without exercise"
)
TEMPORARY = re.compile(r"\.part$|^\.merging\.|\.tmp$|\.lock$")
HARM = re.compile(r"Traceback|Error:|Warning:|Segmentation|panicked|core dumped|object at 0x")


@dataclass
class Outcome:
    """fault: which part of the rule is broken; "" when none is."""

    number: int
    kind: str
    code: int
    seconds: float
    err: str
    argv: list
    fault: str = ""
    wrong: str = ""


def warm_up(good: Path) -> None:
    """Import what the commands import and run the common ones, so that a fork does not do it again.

    good: the folder of sound.make; what the commands write is removed. Absolute names: no cache may know a name that a
    case has.
    """
    import jinja2.debug  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import ml_dtypes  # noqa: F401
    import PIL.PngImagePlugin  # noqa: F401
    import rich.progress  # noqa: F401

    import minilora

    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "MPLBACKEND": "Agg", "HF_HUB_OFFLINE": "1"}
    for module in pkgutil.walk_packages(minilora.__path__, "minilora."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    handlers = {number: signal.getsignal(number) for number in (*STOPPING, signal.SIGHUP)}
    argv = sys.argv
    with tempfile.TemporaryDirectory() as out, warnings.catch_warnings():
        for words in WARMING:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                code = run_command([word.format(good=good, out=out) for word in words])
            if code:
                raise RuntimeError(f"minilora {' '.join(words)} fails on sound files")
    for number, handler in handlers.items():
        signal.signal(number, handler)
    sys.argv = argv
    gc.collect()
    gc.freeze()  # a collection in a fork would write to every object here, so copy it


def run_case(seed: int, number: int, good: Path, keep: Path | None = None) -> Outcome:
    """Build the case in a temporary folder (or in `keep`), run it and judge it."""
    root = Path(tempfile.mkdtemp(prefix="hostile.")) if keep is None else keep
    try:
        work = root / "work"
        work.mkdir(parents=True)
        case = build(seed, number, work, good)
        (root / "tmp").mkdir()
        before = snapshot(work)
        code, seconds, late = in_a_fork(case, root)
        out, err = ((root / name).read_bytes().decode("utf-8", "replace") for name in ("stdout", "stderr"))
        outcome = Outcome(number, case.kind, code, seconds, err, [*map(str, case.argv)], wrong=case.wrong)
        outcome.fault = judge(case, code, err, out, late, before, snapshot(work), os.listdir(root / "tmp"))
        return outcome
    finally:
        if keep is None:
            shutil.rmtree(root, ignore_errors=True)


# ---- the rule


def judge(case, code, err, out, late, before, after, temporary) -> str:
    """The part of the rule that is broken, in a few words; "" when all is well."""
    lines = err.removesuffix("\n").split("\n") if err else []
    if late and not (case.long and code in (0, 2, 128 + signal.SIGTERM)):
        return f"too long ({late})"
    if case.signal and code == -case.signal[1] and before == after:
        return ""  # the signal was faster than the first line of the command
    if code < 0:
        return f"ended by signal {-code}"
    if code not in (0, 2, *case.codes, *([128 + signal.SIGTERM] if late else [])):
        return f"exit code {code}"
    if harm := HARM.search("\n".join(line for line in lines if not line.startswith("error: "))):
        return f"{harm[0]} on stderr"
    if any(not line.isprintable() for line in lines):
        return "unprintable on stderr"
    if any(ord(c) < 32 and c not in "\n\t" or ord(c) == 127 for c in out) and case.argv[0] not in SAYING:
        return "control characters on stdout"
    if code == 2:
        if not lines or not lines[-1].startswith("error: "):
            return "no error line"
        if len(lines[-1]) > LINE:
            return f"a line of {len(lines[-1])} characters"
        if rest := [line for line in lines[:-1] if not BEFORE_AN_ERROR.match(line)]:
            return f"more than one line: {rest[0][:80]}"
    if code == 0 and case.wrong:
        return f"success in spite of: {case.wrong}"
    if temporary:
        return f"left in the temporary folder: {temporary[0]}"
    return left_behind(case, code, err, before, after)


def left_behind(case, code, err, before, after) -> str:
    outs = [name.removeprefix("./").rstrip("/") for name in case.outs]
    for name, was in before.items():
        top = any(name == out or name.startswith(f"{out}/") or out == "." for out in outs)
        if after.get(name) != was and not (top and (code != 2 or "saved in" in err)):
            return f"changed: {name}"
    new = [name for name in after if name not in before]
    if left := [name for name in new if TEMPORARY.search(Path(name).name)]:
        return f"left behind: {left[0]}"
    if code == 2 and new and "saved in" not in err:
        return f"left behind: {new[0]}"
    return ""


def snapshot(folder: Path) -> dict:
    """{name: what is there} of everything in a folder. A large file counts by its size and time."""
    found = {}
    for place, folders, files in os.walk(folder):
        for path in (f"{place}/{name}" for name in (*folders, *files)):
            found[path.removeprefix(f"{folder}/")] = what_is_at(path)
    return dict(sorted(found.items()))


def what_is_at(path):
    info = os.lstat(path)
    if stat.S_ISLNK(info.st_mode):
        return os.readlink(path)
    if not stat.S_ISREG(info.st_mode):
        return info.st_mode
    if info.st_size > 2**22 or not os.access(path, os.R_OK):
        return info.st_size, info.st_mtime_ns
    with open(path, "rb") as file:  # noqa: PTH123  many small files: a Path for each takes longer than to read it
        return file.read()


# ---- the fork


def in_a_fork(case, root):  # -> exit code (negative: a signal), seconds, why it was ended or ""
    for name, content in (("stdin", case.stdin), ("stdout", b""), ("stderr", b"")):
        (root / name).write_bytes(content)
    began, late = time.monotonic(), ""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # the child takes signals when it is ready
    reading, ready = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            run_in_child(case, root, ready)
        finally:
            os._exit(1)  # never back into the code of the parent
    signal.pthread_sigmask(signal.SIG_SETMASK, held)
    os.close(ready)
    os.read(reading, 1)  # ready, or dead
    os.close(reading)
    handle = os.pidfd_open(child) if hasattr(os, "pidfd_open") else None  # only Linux has it
    looked = time.monotonic()
    sent = None if case.signal is None else looked + case.signal[0]
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        now = time.monotonic()
        began += max(0, now - looked - 2)  # the time that this process, and so its child, was stopped
        looked = now
        if sent is not None and now >= sent:
            os.kill(child, case.signal[1])
            sent = None
        used = processor_seconds(child)
        if used > SECONDS + 6 or now - began > PATIENCE + 30:
            os.killpg(child, signal.SIGKILL)
        elif not late and (used > SECONDS or now - began > PATIENCE):
            late = f"{used:.0f} s of processor time"
            os.kill(child, signal.SIGTERM)
        wait(handle, 0.1 if sent is None else min(0.1, sent - now))
    if handle is not None:
        os.close(handle)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # what it started
    return os.waitstatus_to_exitcode(status), time.monotonic() - began, late


def wait(handle, seconds):
    """Until the process of the handle has ended, for at most so long."""
    if handle is None:
        time.sleep(min(seconds, 0.002))
    else:
        select.select([handle], [], [], seconds)


def processor_seconds(pid) -> float:
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0  # no /proc: the clock decides


def run_in_child(case, root, ready):
    code = 1
    try:
        os.setsid()
        os.chdir(case.work)
        for number, name, flags in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_WRONLY), (2, "stderr", os.O_WRONLY)):
            opened = os.open(root / name, flags)
            os.dup2(opened, number)
            os.close(opened)
        sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False), encoding="utf-8")
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), encoding="utf-8")
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), encoding="utf-8", line_buffering=True,
                                      errors="backslashreplace")  # fmt: skip
        os.environ["TMPDIR"] = str(root / "tmp")
        tempfile.tempdir = None
        for number in STOPPING:
            signal.signal(number, signal.SIG_DFL)  # as when the command has been imported
        limit_resources()
        argv = [str(a) for a in case.argv]
        os.write(ready, b".")
        os.close(ready)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        code = run_command(argv)
    except BaseException:
        traceback.print_exc()
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # the command is over
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def limit_resources():
    import resource  # here: Windows has none

    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, FILE_SIZE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run_command(argv) -> int:
    from minilora.cli import main

    sys.argv = ["minilora", *argv]
    warnings.resetwarnings()
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category)  # as Python does by itself
    try:
        main()
        return 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
