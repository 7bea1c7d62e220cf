"""Independent measurements on several processes; their rows are saved in the order in which they are listed."""

import contextlib
import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import click

from minilora.errors import MiniloraError
from minilora.launcher import THREADS, cores

workers_option = click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(1, 256), metavar="N",
    help="Measure N runs at a time, each in a process of its own. The rows are the same.",
)  # fmt: skip


@contextlib.contextmanager
def processes(workers):
    """Yield a function like `map` that computes on so many processes; on this one when there is one.

    The results have the order of the arguments. NumPy's threads are divided among the processes, unless their number
    is set. Raises MiniloraError when a process is killed, for example because the memory is full.
    """
    if workers == 1:
        yield map
        return
    free = not any(os.environ.get(name) for name in THREADS)
    if free:
        os.environ["OPENBLAS_NUM_THREADS"] = str(max(1, cores() // workers))
    context = multiprocessing.get_context("spawn")  # NumPy of a new process reads the number of threads
    at_once = (signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends a process without a page of traceback
    pool = ProcessPoolExecutor(workers, context, initializer=signal.signal, initargs=at_once)
    try:
        yield pool.map
    except BrokenProcessPool as error:
        raise MiniloraError("a process was killed; every saved row is kept, and fewer workers need less") from error
    except BaseException:  # also Ctrl-C: nobody waits for the measurements that have begun
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        if free:
            del os.environ["OPENBLAS_NUM_THREADS"]  # this process divides nothing


def fill(store, function, tasks, each, step):
    """Measure what the store lacks.

    tasks  [(key, arguments, what)]: a row is key | function(*arguments); what: words for the progress
    each   from `processes`. step: function (whether it was measured, what)
    """
    missing = {repr(key): arguments for key, arguments, _ in tasks if store.find(key) is None}
    found = each(function, *zip(*missing.values(), strict=True)) if missing else iter(())
    for key, _, what in tasks:
        new = store.find(key) is None
        if new:
            store.add(key | next(found))
        step(new, what)
