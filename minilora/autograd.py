"""Tensor and the tape: reverse-mode differentiation by hand.

An operation computes its result and, when a gradient will be wanted, leaves a `Node` behind: where the gradients of
what it read belong, and a function `backward(g)` that turns the gradient of its result into those gradients, in order,
`None` for a frozen tensor. `Tensor.backward` walks the nodes from the loss down and adds up what arrives at each leaf.

A tensor with `requires_grad=False` has no gradient slot: the operations skip its product instead of throwing it away.

Nodes point to nodes, not to tensors: an array that no backward reads is gone as soon as the forward is done with it. So
a `backward` holds what it needs, such as a shape, and never a whole tensor whose values it does not read.
"""

import contextlib
import contextvars
from typing import Any, NamedTuple

import numpy as np

from .backend import array_module, device_of, to_device, to_host
from .errors import GraphError, ShapeError

_recording = contextvars.ContextVar("recording", default=True)


@contextlib.contextmanager
def no_grad():
    """Inside this block no operation leaves a node: forward only, nothing kept for a backward."""
    token = _recording.set(False)
    try:
        yield
    finally:
        _recording.reset(token)


def is_recording():
    return _recording.get()


class SlicedGradient(NamedTuple):
    """A gradient that is zero but for `values` at [key] of an array of `shape`: that of a slice."""

    shape: tuple
    key: Any
    values: Any


class Node:
    """One step of the tape: how gradients flow back through an operation, and where to.

    parents   for each tensor that was read: its Node when it was computed, itself when it is a leaf, None when frozen
    backward  g -> a gradient (an array or a SlicedGradient) or None for each parent; None after the graph was freed
    """

    __slots__ = ("parents", "backward")

    def __init__(self, tensors, backward):
        self.parents = tuple((t.node or t) if t.requires_grad else None for t in tensors)
        self.backward = backward

    freed = property(lambda self: self.backward is None)

    def free(self):
        """Let go of everything that the operation kept for its backward."""
        self.parents, self.backward = (), None


class Tensor:
    """An array, and the place where its gradient will lie.

    data           numpy.ndarray or cupy.ndarray
    grad           a plain array of the same shape, or None; filled for leaves only
    requires_grad  False for frozen weights and for everything computed from frozen tensors alone
    """

    __slots__ = ("data", "grad", "requires_grad", "node", "__weakref__")
    __array_priority__ = 1000  # numpy_array * tensor calls the tensor's operator (attached in ops/basic.py)

    def __init__(self, data, requires_grad=False, node=None):
        if type(data) is not np.ndarray and isinstance(data, float | int | list | tuple | np.generic):
            data = np.asarray(data)
        self.data = data
        self.grad = None
        self.requires_grad = requires_grad
        self.node = node

    shape = property(lambda self: self.data.shape)
    dtype = property(lambda self: self.data.dtype)
    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: int(np.prod(self.shape, dtype=np.int64)))

    def numpy(self):  # -> numpy.ndarray
        """The values on the host. On the CPU this is the array itself, not a copy."""
        return to_host(self.data)

    def item(self):  # -> float
        return float(self.data.item())

    def detach(self):
        """The same array without its history."""
        return Tensor(self.data)

    def to(self, device):  # "cpu" | "cuda" | "cuda:n"
        """A leaf of the same values there. A computed tensor leaves its history behind, as with `detach`."""
        return Tensor(to_device(self.data, device), self.requires_grad and self.node is None)

    def __len__(self):
        return self.shape[0]

    def __repr__(self):
        values = np.array2string(self.numpy(), precision=4, threshold=12, edgeitems=2, prefix="Tensor(")
        state = ", requires_grad" if self.requires_grad else ""
        return f"Tensor({values}, shape={self.shape}, {self.dtype}, {device_of(self.data)}{state})"

    def backward(self, gradient=None, retain_graph=False):
        """Add d(self)/d(leaf) to `.grad` of every leaf that requires a gradient.

        gradient: d(loss)/d(self), an array of this shape; 1 for a single number. The graph is freed on the way, unless
        `retain_graph`. Raises GraphError when there is no graph, or when it was freed by an earlier backward;
        ShapeError when the gradient has another shape.
        """
        if not self.requires_grad:
            raise GraphError("backward() on a tensor that depends on nothing with requires_grad=True")
        xp = array_module(self.data)
        if gradient is None:
            if self.size != 1:
                raise GraphError(f"backward() without a gradient needs a single number, this tensor is {self.shape}")
            gradient = xp.ones_like(self.data)
        gradient = xp.asarray(gradient, dtype=self.dtype)
        if gradient.shape != self.shape:
            raise ShapeError(f"gradient of shape {gradient.shape} for a tensor of shape {self.shape}")

        order = _post_order(self.node or self)
        gradients = {order[-1]: gradient}  # what has arrived so far at each node and leaf
        owned = set()  # those whose array in `gradients` is ours alone, so that it may be added to in place
        while order:
            place = order.pop()  # every consumer of `place` was popped before it: its gradient is complete
            g = gradients.pop(place, None)
            if g is None:
                continue
            if isinstance(place, Tensor):
                _add_to_leaf(place, g if place in owned else g.copy())
                continue
            for parent, pg in zip(place.parents, place.backward(g), strict=True):
                if parent is not None and pg is not None:
                    _add_gradient(gradients, owned, parent, pg, g)
            if not retain_graph:
                place.free()


def _add_gradient(gradients, owned, key, pg, g):
    """Add `pg`, made by a backward that was given `g`, to what has arrived at the node or leaf `key`."""
    if isinstance(pg, SlicedGradient):
        before, xp = gradients.get(key), array_module(g)
        if key not in owned:
            before = xp.zeros(pg.shape, dtype=g.dtype) if before is None else before.copy()
            owned.add(key)
        gradients[key] = xp.asarray(before)  # in NumPy arithmetic makes a scalar of a 0-d array
        gradients[key][pg.key] += pg.values
    elif key not in gradients:
        gradients[key] = pg
        if _memory(pg) is not _memory(g):  # otherwise it is g itself (add) or a view of it (reshape)
            owned.add(key)
    elif key in owned:
        gradients[key] += pg
    else:
        gradients[key] = gradients[key] + pg
        owned.add(key)


def _memory(a):
    """The array that owns the memory which the view `a` looks at."""
    while getattr(a, "base", None) is not None:
        a = a.base
    return a


def _add_to_leaf(leaf, g):
    total = g if leaf.grad is None else leaf.grad + g  # never in place: the caller may have kept leaf.grad
    leaf.grad = array_module(leaf.data).asarray(total)  # in NumPy a sum of 0-d arrays is a scalar, not an array


def _post_order(root):
    """All nodes and leaves below `root`, each after its parents (what it read); with a stack, so that depth is free."""
    order, seen, stack = [], set(), [(root, False)]
    while stack:
        place, expanded = stack.pop()
        if expanded:
            order.append(place)
            continue
        if place in seen:
            continue
        seen.add(place)
        stack.append((place, True))
        if isinstance(place, Node):
            if place.freed:
                raise GraphError("backward() a second time through a freed graph; keep it with retain_graph=True")
            stack.extend((p, False) for p in place.parents if p is not None)
    return order


def record(data, parents, backward):
    """The result of an operation: a Tensor with a node when a gradient will be wanted, without one otherwise.

    parents: the tensors that were read. backward(g) returns one gradient per parent: an array or a SlicedGradient, or
    None for a frozen one. It must not write to g. It may return g or a view of g, or a new array; it must not return an
    array that it, or anyone else, still uses.
    """
    if _recording.get() and any(p.requires_grad for p in parents):
        return Tensor(data, True, Node(parents, backward))
    return Tensor(data)


def as_tensor(x, beside=None):
    """`x` as a Tensor; a number takes the precision and the device of the tensor `beside` it."""
    if isinstance(x, Tensor):
        return x
    if beside is not None and isinstance(x, int | float | np.generic):
        number = x.item() if isinstance(x, np.generic) else x  # np.float64(2) would make float64 of everything
        return Tensor(array_module(beside.data).asarray(number, dtype=np.result_type(beside.dtype, number)))
    return Tensor(x)
