"""The floor: the time of exactly the matrix products that a step makes, with the same BLAS and nothing between them."""

import time

import numpy as np


class Spy(np.ndarray):
    """An array that notes every matrix product it takes part in: operand shapes and whether each is transposed."""

    products = []

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        plain = [x.view(np.ndarray) if isinstance(x, Spy) else x for x in inputs]
        if ufunc is np.matmul:
            Spy.products.append([(x.shape, x.ndim > 1 and x.strides[-1] > x.strides[-2]) for x in plain])
        if out is not None:
            kwargs["out"] = tuple(x.view(np.ndarray) if isinstance(x, Spy) else x for x in out)
        result = getattr(ufunc, method)(*plain, **kwargs)
        return out[0] if out is not None else result.view(Spy) if isinstance(result, np.ndarray) else result


def products_of(model, step):
    """The products of one call of `step()`, as a list of operand pairs (shape, transposed)."""
    kept = [(p, p.data) for p in model.parameters()]
    for p, array in kept:
        p.data = array.view(Spy)
    Spy.products = []
    step()
    for p, array in kept:
        p.data = array
    return Spy.products


def make_floor(products):
    """A function that multiplies arrays of these shapes and layouts, into results allocated beforehand."""
    rng = np.random.default_rng(0)
    pool = {}

    def operand(shape, transposed, which):
        key = (shape, transposed, which)
        if key not in pool:
            x = rng.standard_normal(shape[:-2] + (shape[:-3:-1] if transposed else shape[-2:]), dtype=np.float32)
            pool[key] = x.swapaxes(-1, -2) if transposed else x
        return pool[key]

    calls = []
    for a, b in products:
        a, b = operand(*a, 0), operand(*b, 1)
        shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2]) + (a.shape[-2], b.shape[-1])
        calls.append((a, b, pool.setdefault(("out", shape), np.empty(shape, np.float32))))

    def floor():
        for a, b, out in calls:
            np.matmul(a, b, out=out)

    return floor


SPIN = 0.25  # seconds after which idle threads of OpenBLAS and of OpenMP sleep


def interleaved(functions, repeats, threads=1):  # {name: function} -> {name: seconds of every round}
    """Call the functions in turn, so that what else the machine does falls on all of them alike.

    With several threads each call waits first: the idle threads of another BLAS spin for a while, on the cores that it
    would be measured on.
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
    """CPU time for one thread: programs beside this one do not count. Time by the clock for several."""
    return time.process_time if threads == 1 else time.perf_counter
