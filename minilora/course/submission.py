"""The process of a submission: it loads the student's file and answers calls. It knows no check and judges nothing.

On Linux two processes: a keeper, to which every process that the submission starts falls back when its parent ends, and
its child, which runs the submission. So the keeper's descendants are all that the submission has ever started.

This process starts without the rest of the package, which takes longer to load than a check: `START` makes the three
files that it needs a package of their own, `_check`.
"""

import ctypes
import importlib.util
import os
import signal
import sys
import threading
import time
import tracemalloc
from pathlib import Path

from .messages import Printed, in_words, own_lines
from .wire import encoded, formula, frame, read_frame

START = """
import importlib.util, sys
folder, *arguments = sys.argv[1:]
spec = importlib.util.spec_from_file_location("_check", folder + "/__init__.py", submodule_search_locations=[folder])
sys.modules["_check"] = importlib.util.module_from_spec(spec)
from _check.submission import main
main(*arguments)
"""
ENDED_OVER_MEMORY = 77  # exit code of a submission that exceeded the memory limit
SET_PARENT_DEATH_SIGNAL, SET_CHILD_SUBREAPER = 1, 36  # of Linux's prctl


def main(path: str, name: str, megabytes: str) -> None:
    """Load the function `name` from the file `path`, then answer calls until the other side closes."""
    if sys.platform == "linux":
        _leave_to_a_keeper()
    asked, told = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)  # what C code and programs print must not block, and is no answer
    printed = sys.stdout = sys.stderr = Printed(300)

    def tell(message):
        data = memoryview(frame(message))
        while data:
            data = data[os.write(told, data) :]

    tell({"ready": True})
    watch_memory(int(megabytes))
    function, why, others = find_function(Path(path), name)
    tell({"missing": None if function else [why, others]})
    while function is not None and (message := read_frame(lambda n: os.read(asked, n))) is not None:
        printed.clear()
        answer = _answer(function, message["arguments"], Path(path))
        try:
            tell(answer | {"printed": printed.text.strip() + (" ..." if printed.full else "")})
        except (ValueError, TypeError, RecursionError):
            tell({"error": "ValueError", "lines": "the result is too large or too deep to be judged"})
    os._exit(0)  # whatever the submission left behind (threads, exit handlers) does not run


def _answer(function, given, path):
    """The result of one call as a message; with it the bytes that it took, and the arguments that it changed."""
    arguments = [formula(tree) for tree in given]
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    try:
        result = function(*arguments)
        peak = tracemalloc.get_traced_memory()[1] - before
        value = encoded(result)
        after = [encoded(a) for a in arguments]
    except NotImplementedError:
        return {"error": "NotImplementedError"}
    except BaseException as error:  # SystemExit too: it ends the call, not the process
        return {"error": type(error).__name__, "lines": own_lines(error, path), "words": in_words(error)}
    return {
        "value": value,
        "peak": peak,
        "changed": {i: a for i, (a, b) in enumerate(zip(after, given, strict=True)) if a != b},
    }


def find_function(path: Path, name: str) -> tuple:  # -> (function or None, why the file does not load or "", names)
    """The student's function `name` in the file `path`; without it, why, and the names of the functions there are."""
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader  # None only for a name that does not end in .py
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        return None, own_lines(error, path), []
    function = getattr(module, name, None)
    names = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
    return function if callable(function) else None, "", names


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


# ---- Linux: nothing escapes


def _leave_to_a_keeper():
    """Go on in a child of this process. This process itself waits for it, ends what it left, and ends as it did."""
    prctl = ctypes.CDLL(None).prctl
    prctl(SET_CHILD_SUBREAPER, 1)
    prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    child = os.fork()
    if not child:
        prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)  # without its keeper it must not go on
        return
    for fd in (0, 1):
        os.close(fd)  # so that the other side notices the end of the child
    _, status = os.waitpid(child, 0)
    end_descendants(os.getpid())
    os._exit(os.waitstatus_to_exitcode(status) % 256)


def end_descendants(pid: int) -> None:
    """End every process below `pid`; they are asked again until none is left, since they may start others meanwhile."""
    for _ in range(100):
        below = [p for p in _descendants(pid) if not _is_dead(p)]
        if not below:
            return
        for p in below:
            try:
                os.kill(p, signal.SIGKILL)
            except OSError:
                pass  # it has ended already
        time.sleep(0.01)


def _descendants(pid):
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (stat := _stat(entry)):
            children.setdefault(int(stat[1]), []).append(int(entry))
    found, open_ones = [], [pid]
    while open_ones:
        below = children.get(open_ones.pop(), [])
        found += below
        open_ones += below
    return found


def _is_dead(pid):  # nobody has asked for its exit code yet
    return (_stat(pid) or "Z")[0] == "Z"


def _stat(pid):  # -> [state, parent, ...] or None
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].decode().split()
    except OSError:
        return None
