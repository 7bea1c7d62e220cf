"""Who the workers are, whether they have the same files, and how all of them end."""

import contextlib
import functools
import hashlib
import os
import signal
import stat
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..backend import device_index, require_cupy
from ..errors import ConfigError, first_line
from ..launcher import Launch, launched
from .parallel import AGREE, ALONE, MpiWorkers, NcclWorkers, Workers

_joined: MpiWorkers | None = None  # the latest that `join` has found; None in a process alone


def join(device: str = "cpu") -> Workers:
    """The workers that a launcher has started, this process among them; ALONE without a launcher.

    device: where they compute. Raises ConfigError when a launcher has started several processes that do not find each
    other.
    """
    return _join(device)


@functools.cache
def _join(device):
    global _joined
    launch = launched()
    mpi = None if launch is None else _mpi_of(launch)
    if mpi is None:
        return ALONE
    _joined = MpiWorkers(mpi, mpi.COMM_WORLD)
    if device != "cpu" and _joined.size > 1:
        cupy, own = require_cupy(device), own_device(device, _joined)
        cupy.cuda.Device(device_index(own)).use()
        if _joined.gather(cupy.cuda.runtime.getDeviceCount() >= _joined.local).all():
            _joined = NcclWorkers(mpi, mpi.COMM_WORLD)
    if _joined.size > 1:
        sys.excepthook = _end_on_error  # otherwise the others wait for ever
    if _joined.rank:
        warnings.simplefilter("ignore", UserWarning)  # worker 0 gives the same
    return _joined


def _mpi_of(launch: Launch) -> Any:  # the module mpi4py.MPI; None for one process without mpi4py
    try:
        with _signals_as_they_were():
            from mpi4py import MPI  # waits for the others
    except (ImportError, RuntimeError) as error:  # RuntimeError: it finds no MPI library
        if launch.size == 1:
            return None
        raise ConfigError(
            f"{launch.launcher} has started {launch.size} processes, and they cannot use MPI ({first_line(error)}): "
            "pip install 'minilora[parallel]'"
        ) from error
    if (found := MPI.COMM_WORLD.size) != launch.size:
        way = f"use the mpiexec of {MPI.get_vendor()[0]}, which mpi4py has loaded"
        if launch.launcher == "srun":
            way = "add --mpi=pmi2 or --mpi=pmix"
        raise ConfigError(f"{launch.launcher} has started {launch.size} processes, and MPI finds {found}; {way}")
    return MPI


def check_files(workers: Workers, paths: list[str]) -> None:
    """Raises ConfigError for standard input ("-") or a pipe among the paths, when several workers would read it."""
    for path in paths if workers.size > 1 else ():
        if path == "-" or Path(path).is_fifo():
            what = "standard input" if path == "-" else path
            raise ConfigError(f"{what} can be read once, and {workers.size} workers need it; save it in a file")


@contextlib.contextmanager
def _signals_as_they_were():
    """In the block SIGINT and SIGTERM end the process at once: Python handles neither while it waits inside MPI."""
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def own_device(device: str, workers: Workers) -> str:
    """The device of this worker: with "cuda", the workers of a machine take its GPUs in turn."""
    if device != "cuda" or not isinstance(workers, MpiWorkers):
        return device
    return f"cuda:{workers.local_rank % require_cupy(device).cuda.runtime.getDeviceCount()}"


def check_same(workers: Workers, **values: str) -> None:
    """Raises ConfigError, on every worker, when one of them has another value than worker 0."""
    for name, value in values.items():
        digest = hashlib.sha256(value.encode()).digest()
        numbers = workers.gather(int.from_bytes(digest[:6], "big"))  # 48 bits: exact in float64
        if others := np.flatnonzero(numbers != numbers[0]).tolist():
            raise ConfigError(f"worker {others[0]} has another {name} than worker 0; all need the same files")


# ---- how all of them end


def end(line: str, code: int) -> NoReturn:
    """Print the line of a mistake, and end this process and all other workers with exit code `code`.

    When all workers make the same mistake, worker 0 prints it. A worker that fails by itself ends the others within a
    second, because they wait for it.
    """
    if _joined is None:
        launch = launched()  # a mistake in the command line is found before the workers join
        if launch is None or launch.rank == 0:
            print(line, file=sys.stderr, flush=True)
        if launch and launch.size > 1:
            _end_before_joining(launch.rank, line, code)
        sys.exit(code)
    together = _joined.all_fail()
    if not together or _joined.rank == 0:
        who = "" if together else f" (worker {_joined.rank} of {_joined.size})"
        print(f"{line}{who}", file=sys.__stderr__, flush=True)
    if not together:
        _joined.comm.Abort(code)
    sys.exit(code)


def _end_before_joining(rank, line, code):
    """Tell MPICH's mpiexec to end all: it does nothing when a process ends early, and the others wait for it.

    The message is that of its process manager (PMI 1). Other launchers end all by themselves.
    """
    with contextlib.suppress(OSError, ValueError):  # ValueError: no number
        manager = int(os.environ.get("PMI_FD", ""))
        if stat.S_ISSOCK(os.fstat(manager).st_mode):  # in a process that a worker has started it is none
            if rank:
                time.sleep(AGREE)  # worker 0 ends all when it has made the same mistake
                print(line, file=sys.stderr, flush=True)
            os.write(manager, f"cmd=abort exitcode={code}\n".encode())


def _end_on_error(kind, error, trace):  # as sys.excepthook: for scripts that nobody catches an error of
    assert _joined is not None
    together = _joined.all_fail()
    if not together or _joined.rank == 0:
        traceback.print_exception(error, file=sys.__stderr__)
    if not together:
        _joined.comm.Abort(1)
