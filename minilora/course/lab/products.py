"""Arrays that record every matrix product made with them, to count the products of a forward or a backward."""

import contextlib

import numpy as np

_products = None  # the list of the open `count_products` block


class Factor(tuple):
    """The shape of one factor of a product. `transposed`: in memory its columns lie together, not its rows."""

    transposed = False

    @classmethod
    def of(cls, array):
        factor = cls(array.shape)
        factor.transposed = array.ndim > 1 and array.strides[-1] > array.strides[-2]
        return factor


class Counted(np.ndarray):
    """Every array computed from a Counted array is Counted too."""

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        plain = [x.view(np.ndarray) if isinstance(x, Counted) else x for x in inputs]
        if ufunc is np.matmul and _products is not None:
            _products.append(tuple(Factor.of(x) for x in plain))
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
    """Yield a list that receives the two factors of every product inside the block, in order."""
    global _products
    _products = []
    try:
        yield _products
    finally:
        _products = None


def multiplications(products: list) -> int:
    """Σ over the products (..., m, k) (..., k, n) of m · k · n, times the leading axes."""
    return sum(int(np.prod(a, dtype=np.int64)) * b[-1] for a, b in products)
