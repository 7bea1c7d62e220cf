"""The floor: the time of the matrix products of a step and nothing else, with the same BLAS."""

import time

import numpy as np

from minilora.course.lab.products import count_products, counted


def products_of(model, step):
    """The products of one call of `step()`, as a list of pairs of Factors."""
    kept = [(p, p.data) for p in model.parameters()]
    for p, array in kept:
        p.data = counted(array)
    with count_products() as products:
        step()
    for p, array in kept:
        p.data = array
    return products


def make_floor(products):
    """A function that multiplies arrays of these shapes and layouts, into results allocated beforehand."""
    rng = np.random.default_rng(0)
    pool = {}

    def operand(factor, which):
        key = (factor, factor.transposed, which)
        if key not in pool:
            shape = factor[:-2] + (factor[:-3:-1] if factor.transposed else factor[-2:])
            x = rng.standard_normal(shape, dtype=np.float32)
            pool[key] = x.swapaxes(-1, -2) if factor.transposed else x
        return pool[key]

    calls = []
    for a, b in products:
        a, b = operand(a, 0), operand(b, 1)
        shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2]) + (a.shape[-2], b.shape[-1])
        calls.append((a, b, pool.setdefault(("out", shape), np.empty(shape, np.float32))))

    def floor():
        for a, b, out in calls:
            np.matmul(a, b, out=out)

    return floor


SPIN = 0.25  # seconds after which idle threads of OpenBLAS and of OpenMP sleep


def interleaved(functions, repeats, threads=1):  # {name: function} -> {name: seconds of every round}
    """Call the functions in turn, so that other work of the machine affects all of them alike.

    With several threads each call waits first, because the idle threads of another BLAS spin for a while on the cores
    of the measurement.
    """
    clock = clock_for(threads)
    times = {name: [] for name in functions}
    for i in range(repeats + 1):
        for name, function in functions.items():
            time.sleep(SPIN if threads > 1 else 0)
            began = clock()
            function()
            if i:  # the first round warms up
                times[name].append(clock() - began)
    return {name: np.array(t) for name, t in times.items()}


def clock_for(threads):
    """CPU time for one thread, so that other programs do not count; time by the clock for several."""
    return time.process_time if threads == 1 else time.perf_counter
