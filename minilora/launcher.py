"""How this process was started: as the command, and by which launcher (mpiexec, srun) beside others.

Imported before NumPy: it imports none itself.

The launcher's variables only decide whether mpi4py is imported: size and rank are MPI's. Where the two disagree,
nothing is trained.
"""

import os
import re
import signal
import sys
import threading
from dataclasses import dataclass

LAUNCHERS = {  # name -> its variables: all processes, the number of this one, processes on this machine
    "Open MPI's mpiexec": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    "mpiexec": ("PMI_SIZE", "PMI_RANK", "MPI_LOCALNRANKS"),  # MPICH, Intel MPI, srun --mpi=pmi2
    "srun": ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_STEP_TASKS_PER_NODE"),  # a script of sbatch has no step
}
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Launch:
    """launcher: its name; size: processes in all; rank: the number of this one; local: processes on this machine."""

    launcher: str
    size: int
    rank: int
    local: int


def launched() -> Launch | None:
    """How a launcher has started this process; None without a launcher.

    The first whose variables are there counts: an mpiexec inside a job of Slurm has started its processes, not srun.
    """
    for name, variables in LAUNCHERS.items():
        size, rank, local = map(_leading_number, variables)
        if size is not None:
            return Launch(name, size, rank or 0, local or 1)
    return None


def _leading_number(variable):  # "4" -> 4, and Slurm's "4(x2),1" -> 4; None without one
    found = re.match(r"\d+", os.environ.get(variable, ""))
    return int(found[0]) if found else None


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """On how many threads NumPy multiplies: what the first of their variables says, else one for each core."""
    return next((n for name in THREADS if (n := _leading_number(name))), cores())


def share_cores() -> None:
    """Divide the threads of NumPy's products among the processes on this machine, unless their number is set.

    Otherwise each of n processes starts a thread for every core, and n threads wait for each core.
    """
    launch = launched()
    if launch and launch.local > 1 and not any(os.environ.get(name) for name in THREADS):
        os.environ["OPENBLAS_NUM_THREADS"] = str(max(1, cores() // launch.local))


def is_command() -> bool:
    """Whether this process is `minilora ...` or `python -m minilora ...`, and no other program that imports it."""
    if sys.argv[:1] == ["-m"]:  # the package is being imported to run its __main__
        return "minilora" in sys.orig_argv
    return bool(sys.argv) and os.path.basename(sys.argv[0]) in ("minilora", "minilora.exe")


def leave_quietly() -> None:
    """Let Ctrl-C end the command at once while it imports, without a traceback. `cli.main` takes Ctrl-C over."""
    in_main = threading.current_thread() is threading.main_thread()
    if is_command() and in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


share_cores()
leave_quietly()
