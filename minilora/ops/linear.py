"""The product with a weight matrix, and embedding: the same product with one-hot rows, done as a lookup.

`...` any leading axes (batch, tokens)   N all of them as one   V vocabulary   d width of the model
"""

import numpy as np

from ..autograd import Tensor, as_tensor, is_recording, record
from ..backend import array_module, like, product, reads_in_place, scatter_add
from ..errors import ShapeError

IN_PLACE = 1200, 10**6  # results and multiplications of the largest product that OpenBLAS makes without a copy of W
FEW = 16  # rows


def linear(x, W, b=None, fan_in_fan_out: bool = False) -> Tensor:  # (..., in), (out, in), (out,) -> (..., out)
    """y = x Wᵀ + b

    dx = g W        dW = gᵀ x        db = Σ g        a frozen W needs no dW: a third less work, and x is not kept

    fan_in_fan_out: W is stored as (in, out), as in GPT-2: y = x W + b, dx = g Wᵀ, dW = xᵀ g.
    Raises ShapeError when x and W do not fit together.
    """
    x = as_tensor(x)
    weight, shape = W.data.T if fan_in_fan_out else W.data, x.shape
    n_out, n_in = weight.shape
    if shape[-1] != n_in:
        raise ShapeError(f"linear: x has {shape[-1]} features, W of shape {W.shape} expects {n_in}")
    x2 = x.data.reshape(-1, n_in)  # (N, in): one large product is faster than one per batch row
    y = few_rows(x2, weight) if is_few(x2, weight) else product(x2, weight.T)  # (N, out)
    if b is not None:
        y += b.data
    y = y.reshape(shape[:-1] + (n_out,))
    to_x, kept = shape if x.requires_grad else None, x2 if W.requires_grad else None

    def backward(g):
        g2 = g.reshape(-1, n_out)  # (N, out)
        dx = None if to_x is None else product(g2, weight).reshape(to_x)
        dW = None if kept is None else kept.T @ g2 if fan_in_fan_out else g2.T @ kept  # in the shape of W
        return (dx, dW) if b is None else (dx, dW, g2.sum(axis=0) if b.requires_grad else None)

    exact = weight.dtype == np.float16 and b is None and not W.requires_grad  # products of float16, on a GPU
    return record(y, (x, W) if b is None else (x, W, b), backward, exact)


def few_rows(x, W):  # (N, in), (out, in) -> (N, out)
    """x Wᵀ, the same, faster for 2 to 16 rows: W in parts, each so small that OpenBLAS reads it as it is.

    A larger product begins with a copy of W in another order, which takes longer than to multiply a few rows with it.
    """
    (N, n_in), n_out = x.shape, len(W)
    part = min(IN_PLACE[0] // N, IN_PLACE[1] // (N * n_in)) // 8 * 8  # rows of W
    y = np.empty((N, n_out), dtype=x.dtype)
    for i in range(0, n_out, part):
        np.matmul(x, W[i : i + part].T, out=y[:, i : i + part])
    return y


def is_few(x, W) -> bool:  # (N, in), (out, in)
    """Whether `few_rows` is for them: in inference, for whole float32 weights whose parts have 8 rows and more."""
    if not 1 < len(x) <= FEW or is_recording() or not 0 < 8 * W.shape[1] * len(x) <= IN_PLACE[1]:
        return False
    return type(W) is np.ndarray and W.dtype == x.dtype == np.float32 and W.flags.c_contiguous and reads_in_place()


def embedding(W, ids) -> Tensor:  # (V, d), (...) int -> (..., d)
    """y = W[ids]        dW[v] = Σ of g over the places where ids is v

    Raises ShapeError for an id outside 0..V-1.
    """
    ids, shape = check_ids(ids, W.shape[0], "id"), W.shape
    index = like(ids, W.data) if isinstance(ids, np.ndarray) else ids

    def backward(g):
        dW = array_module(g).zeros(shape, dtype=g.dtype)
        scatter_add(dW, index.reshape(-1), g.reshape(-1, shape[1]))
        return (dW,)

    return record(W.data[index], (W,), backward)


def check_ids(ids, size: int, name: str):  # (...) int -> (...) int64
    """`ids` as an int64 array. Raises ShapeError unless all are in 0..size-1: NumPy counts negative ones from the end.

    name: what the error message calls an id. An array on a GPU is returned unchecked: a check would make the host wait.
    """
    if array_module(ids) is not np:
        return ids
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iu" and ids.size:
        raise ShapeError(f"{name}s must be integers, got {ids.dtype}")
    int64 = ids.astype(np.int64, copy=False)
    if int64.size and int64.view(np.uint64).max() >= size:  # read as unsigned, a negative id is very large
        wrong = ids.min() if ids.min() < 0 else ids.max()
        raise ShapeError(f"{name} {wrong} is outside 0..{size - 1}")
    return int64
