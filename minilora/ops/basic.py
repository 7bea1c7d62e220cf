"""Arithmetic, sums, reshaping and slicing; and how a backward undoes broadcasting.

The operands of add, sub, mul and div broadcast as in NumPy. g is the gradient of y, da that of a.
"""

from collections.abc import Iterable

import numpy as np

from ..autograd import SlicedGradient, Tensor, as_tensor, record
from ..backend import array_module, like
from ..errors import ShapeError

INDICES = {int, slice, type(None), type(...)} | {np.dtype(code).type for code in np.typecodes["AllInteger"]}


def unbroadcast(g, shape: tuple[int, ...]):
    """The gradient of an array of `shape` that broadcasting repeated: `g` summed over the repeated axes.

    A value that was used k times gets the sum of its k gradients.

    >>> unbroadcast(np.ones((5, 2)), (2,))  # each of 2 numbers was added to 5 rows
    array([5., 5.])
    """
    if g.shape == shape:
        return g
    front = g.ndim - len(shape)  # axes that broadcasting put in front
    stretched = (front + i for i, n in enumerate(shape) if n == 1)
    return g.sum(axis=(*range(front), *stretched), keepdims=True).reshape(shape)


def _pair(a, b):
    """Both operands as Tensors; a number takes the precision and device of the other."""
    if isinstance(a, Tensor):
        return a, as_tensor(b, beside=a)
    if isinstance(b, Tensor):
        return as_tensor(a, beside=b), b
    return as_tensor(a), as_tensor(b)


def add(a, b) -> Tensor:
    # y = a + b        da = g        db = g
    a, b = _pair(a, b)
    to_a, to_b = _gradient_shapes(a, b)
    return record(a.data + b.data, (a, b), lambda g: (_sum_to(g, to_a), _sum_to(g, to_b)))


def sub(a, b) -> Tensor:
    # y = a - b        da = g        db = -g
    a, b = _pair(a, b)
    to_a, to_b = _gradient_shapes(a, b)
    return record(a.data - b.data, (a, b), lambda g: (_sum_to(g, to_a), None if to_b is None else _sum_to(-g, to_b)))


def _gradient_shapes(a, b):
    """The shape of each operand's gradient, None for a frozen operand. A sum needs no more for its backward."""
    return a.shape if a.requires_grad else None, b.shape if b.requires_grad else None


def _sum_to(g, shape):
    return None if shape is None else unbroadcast(g, shape)


def mul(a, b) -> Tensor:
    # y = a · b        da = g · b        db = g · a        b is kept for da only, a for db only
    a, b = _pair(a, b)
    a_shape, b_shape = a.shape, b.shape
    for_a, for_b = b.data if a.requires_grad else None, a.data if b.requires_grad else None

    def backward(g):
        return (
            None if for_a is None else unbroadcast(g * for_a, a_shape),
            None if for_b is None else unbroadcast(g * for_b, b_shape),
        )

    return record(a.data * b.data, (a, b), backward)


def div(a, b) -> Tensor:
    # y = a / b        da = g / b        db = -g · y / b
    a, b = _pair(a, b)
    to_a, to_b = _gradient_shapes(a, b)
    divisor, y = b.data, a.data / b.data
    kept = None if to_b is None else y

    def backward(g):
        return (
            None if to_a is None else unbroadcast(g / divisor, to_a),
            None if to_b is None else unbroadcast(-g * kept / divisor, to_b),
        )

    return record(y, (a, b), backward)


def matmul(a, b) -> Tensor:  # (..., m, k), (..., k, n) -> (..., m, n)
    # Y = A B        dA = G Bᵀ        dB = Aᵀ G        leading axes broadcast
    a, b = _pair(a, b)
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise ShapeError(f"matmul of {a.shape} and {b.shape}: expected (..., m, k) and (..., k, n)")
    a_shape, b_shape = a.shape, b.shape
    for_a, for_b = b.data if a.requires_grad else None, a.data if b.requires_grad else None

    def backward(g):
        return (
            None if for_a is None else unbroadcast(g @ for_a.swapaxes(-1, -2), a_shape),
            None if for_b is None else unbroadcast(for_b.swapaxes(-1, -2) @ g, b_shape),
        )

    return record(a.data @ b.data, (a, b), backward)


def _repeat(g, shape, axis, keepdims):
    """The gradient of a sum over `axis` of an array of `shape`: g, repeated along the summed axes."""
    xp = array_module(g)
    if axis is not None and not keepdims:
        g = xp.expand_dims(g, axis)
    dx = xp.empty(shape, dtype=g.dtype)  # a copy, not a broadcast view: other gradients may be added to it
    dx[...] = g
    return dx


def sum(x, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
    # y = Σ x        dx = g, repeated along the summed axes
    x = as_tensor(x)
    shape = x.shape
    return record(x.data.sum(axis=axis, keepdims=keepdims), (x,), lambda g: (_repeat(g, shape, axis, keepdims),))


def mean(x, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
    # y = Σ x / n        dx = g / n, repeated along the summed axes
    x = as_tensor(x)
    y = x.data.mean(axis=axis, keepdims=keepdims)
    shape, n = x.shape, x.size // max(1, y.size)
    return record(y, (x,), lambda g: (_repeat(g / n, shape, axis, keepdims),))


def reshape(x, *shape) -> Tensor:
    # y = the numbers of x in another shape        dx = the numbers of g in the shape of x
    x = as_tensor(x)
    before = x.shape
    return record(x.data.reshape(*shape), (x,), lambda g: (g.reshape(before),), exact=True)


def transpose(x, *axes) -> Tensor:
    # y = x with its axes in the order `axes` (none: reversed)        dx = g with its axes in the inverse order
    x = as_tensor(x)
    if len(axes) == 1 and isinstance(axes[0], tuple | list):  # transpose((1, 0)) is transpose(1, 0)
        axes = axes[0]
    y = x.data.transpose(*axes)

    def backward(g):
        order = [a % g.ndim for a in axes] or list(reversed(range(g.ndim)))
        return (g.transpose([order.index(i) for i in range(g.ndim)]),)

    return record(y, (x,), backward, exact=True)


def getitem(x, key) -> Tensor:
    # y = x[key] for integers, slices, None and ...        dx = zeros, with g at [key]
    x = as_tensor(x)
    keys = key if isinstance(key, tuple) else (key,)
    if not INDICES.issuperset(map(type, keys)):
        wrong = next(type(k).__name__ for k in keys if type(k) not in INDICES)
        raise ShapeError(f"index with {wrong}: only integers and slices; ops.embedding picks rows")
    shape = x.shape
    return record(x.data[key], (x,), lambda g: (SlicedGradient(shape, key, g),), exact=True)


def pick_rows(x, index) -> Tensor:  # (N, d), (n,) int64 without repeats -> (n, d)
    # y = x[index]        dx = zeros, with g at [index]
    index, shape = like(index, x.data), x.shape

    def backward(g):
        dx = array_module(g).zeros(shape, dtype=g.dtype)
        dx[index] = g
        return (dx,)

    return record(x.data[index], (x,), backward, exact=True)


def concat(tensors: Iterable, axis: int = 0) -> Tensor:
    # y = [x1, x2, ...] along `axis`        dx1, dx2, ... = the slices of g along `axis`
    tensors = tuple(as_tensor(t) for t in tensors)
    y = array_module(tensors[0].data).concatenate([t.data for t in tensors], axis=axis)
    parts = [(t.shape[axis], t.requires_grad) for t in tensors]

    def backward(g):
        gradients, start = [], 0
        for length, requires_grad in parts:
            key = [slice(None)] * g.ndim
            key[axis] = slice(start, start + length)
            start += length
            gradients.append(g[tuple(key)] if requires_grad else None)
        return gradients

    return record(y, tensors, backward, exact=True)


# Tensor's operators are attached here, so that autograd.py knows no operation.
Tensor.__add__ = Tensor.__radd__ = add
Tensor.__sub__, Tensor.__rsub__ = sub, lambda a, b: sub(b, a)
Tensor.__mul__ = Tensor.__rmul__ = mul
Tensor.__truediv__, Tensor.__rtruediv__ = div, lambda a, b: div(b, a)
Tensor.__neg__ = lambda a: mul(a, -1)
Tensor.__matmul__, Tensor.__rmatmul__ = matmul, lambda a, b: matmul(b, a)
Tensor.__getitem__ = getitem
Tensor.sum, Tensor.mean, Tensor.reshape, Tensor.transpose = sum, mean, reshape, transpose
Tensor.T = property(transpose)
