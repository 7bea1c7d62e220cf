"""The products with a weight matrix, and the lookup that is a product with one-hot rows."""

import numpy as np

from ..autograd import as_tensor, record
from ..backend import array_module, like, scatter_add
from ..errors import ShapeError


def linear(x, W, b=None, fan_in_fan_out=False):  # (..., in), (out, in), (out,) -> (..., out)
    """y = x Wᵀ + b

    dx = g W        dW = gᵀ x        db = Σ g        a frozen W skips dW: a third of the work of a layer, and keeps no x

    fan_in_fan_out: W is stored (in, out), as GPT-2's layers have it: y = x W + b, dx = g Wᵀ, dW = xᵀ g
    """
    x = as_tensor(x)
    weight, shape = W.data.T if fan_in_fan_out else W.data, x.shape
    n_out, n_in = weight.shape
    if shape[-1] != n_in:
        raise ShapeError(f"linear: x has {shape[-1]} features, W of shape {W.shape} expects {n_in}")
    x2 = x.data.reshape(-1, n_in)  # (N, in): one large product is faster than many small ones
    y = x2 @ weight.T  # (N, out)
    if b is not None:
        y += b.data
    y = y.reshape(shape[:-1] + (n_out,))
    to_x, kept = shape if x.requires_grad else None, x2 if W.requires_grad else None

    def backward(g):
        g2 = g.reshape(-1, n_out)  # (N, out)
        dx = None if to_x is None else (g2 @ weight).reshape(to_x)
        dW = None if kept is None else kept.T @ g2 if fan_in_fan_out else g2.T @ kept  # shaped as W is stored
        return (dx, dW) if b is None else (dx, dW, g2.sum(axis=0) if b.requires_grad else None)

    return record(y, (x, W) if b is None else (x, W, b), backward)


def embedding(W, ids):  # (V, d), (...) int -> (..., d)
    """y = W[ids]        dW[v] = sum of g over the places where v stands"""
    ids = check_ids(ids, W.shape[0], "id")
    index = like(ids, W.data) if isinstance(ids, np.ndarray) else ids

    def backward(g):
        dW = array_module(g).zeros(W.shape, dtype=g.dtype)
        scatter_add(dW, index.reshape(-1), g.reshape(-1, W.shape[1]))
        return (dW,)

    return record(W.data[index], (W,), backward)


def check_ids(ids, size, what):
    """`ids` as an int64 array, all in 0..size-1. Raises ShapeError: a wrong id would wrap around, or read nonsense."""
    if array_module(ids) is not np:
        return ids  # on a device: looking would make the host wait for it
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iu" and ids.size:
        raise ShapeError(f"{what}s must be integers, got {ids.dtype}")
    whole = ids.astype(np.int64, copy=False)
    if whole.size and whole.view(np.uint64).max() >= size:  # read as unsigned, a negative one is very large
        worst = ids.min() if ids.min() < 0 else ids.max()
        raise ShapeError(f"{what} {worst} is outside 0..{size - 1}")
    return whole
