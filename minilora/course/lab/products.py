"""An array that notes every matrix product made with it: what a pass over a model really computes, counted."""

import contextlib

import numpy as np

_log = None


class Counted(np.ndarray):
    """Everything computed from a Counted array is one too."""

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        if ufunc is np.matmul and _log is not None:
            _log.append(tuple(np.shape(x) for x in inputs))
        plain = [x.view(np.ndarray) if isinstance(x, Counted) else x for x in inputs]
        if out is not None:
            kwargs["out"] = tuple(x.view(np.ndarray) if isinstance(x, Counted) else x for x in out)
        result = getattr(ufunc, method)(*plain, **kwargs)
        if out is not None:
            return out[0]
        return result.view(Counted) if isinstance(result, np.ndarray) else result


def counted(array):
    return np.asarray(array).view(Counted)


@contextlib.contextmanager
def count_products():
    """Collects the two shapes of every product inside the block, in order."""
    global _log
    _log = []
    try:
        yield _log
    finally:
        _log = None


def multiplications(products):  # list of pairs of shapes -> int
    """Σ over the products (..., m, k) (..., k, n) of m · k · n, times the leading axes."""
    return sum(int(np.prod(a, dtype=np.int64)) * b[-1] for a, b in products)
