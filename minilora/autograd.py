"""Tensor and the tape: reverse-mode differentiation by hand.

An operation computes its result and, when a gradient will be needed, records a `Node`: its inputs, and a function
`backward(g)` that turns the gradient of the result into one gradient per input, in order, `None` for a frozen input.
`Tensor.backward` walks from the loss back to the leaves (the tensors that no operation computed: weights and data) and
adds up the gradients that reach each leaf.

A tensor with `requires_grad=False` gets no gradient: the operations skip that product instead of throwing it away.

Nodes point to nodes, not to tensors, so an array that no backward reads is freed during the forward. For the same
reason a `backward` keeps only what it needs, such as a shape, and never a tensor whose values it does not read.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .backend import add_up, array_module, compute_beside, device_of, to_device, to_host
from .errors import GraphError, ShapeError

_recording = contextvars.ContextVar("recording", default=True)
_rounding: contextvars.ContextVar[Callable | None] = contextvars.ContextVar("rounding", default=None)


@contextlib.contextmanager
def _inside(variable, value) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def no_grad() -> contextlib.AbstractContextManager:
    """Inside this block operations record no nodes: they compute the forward and keep nothing for a backward."""
    return _inside(_recording, False)


def enable_grad() -> contextlib.AbstractContextManager:
    """Inside this block operations record nodes, also inside `no_grad`."""
    return _inside(_recording, True)


def rounded_by(rounding: Callable) -> contextlib.AbstractContextManager:
    """Inside this block every result and every gradient is rounded by `rounding`, a function of an array.

    Single numbers are not: a loss stays exact. The gradients of an operation are rounded if it was computed here.
    """
    return _inside(_rounding, rounding)


def is_recording() -> bool:
    """Whether operations record nodes: True except inside `no_grad`."""
    return _recording.get()


class SlicedGradient(NamedTuple):
    """The gradient of a slice: an array of `shape` that is zero except at [key], where it is `values`."""

    shape: tuple
    key: Any
    values: Any


class Node:
    """One operation on the tape: where its gradients go, and how to compute them.

    parents   one per input: its Node when an operation computed it, the Tensor itself for a leaf, None when frozen
    backward  g -> one gradient (an array, a SlicedGradient or None) per parent; None once the graph is freed
    rounding  of a sum of gradients that reach it (see `rounded_by`), or None
    """

    __slots__ = ("parents", "backward", "rounding")

    def __init__(self, tensors: "tuple[Tensor, ...]", backward: Callable, rounding: Callable | None = None):
        self.parents = tuple((t.node or t) if t.requires_grad else None for t in tensors)
        self.backward: Callable | None = backward
        self.rounding = rounding

    freed = property(lambda self: self.backward is None)

    def free(self) -> None:
        """Drop every array that the operation kept for its backward."""
        self.parents, self.backward = (), None


class Tensor:
    """An array and its gradient.

    data           numpy.ndarray or cupy.ndarray
    grad           an array of the same shape, or None; `backward` fills it, for leaves only
    requires_grad  False for frozen weights, and for results computed from frozen tensors alone
    node           the Node that computed it; None for a leaf and for a result that needs no gradient

    >>> w = Tensor([1.0, 2.0], requires_grad=True)
    >>> (w * w).sum().backward()  # d(Σ w²)/dw = 2 w
    >>> w.grad
    array([2., 4.])
    """

    __slots__ = ("data", "grad", "requires_grad", "node", "__weakref__")
    __array_priority__ = 1000  # numpy_array * tensor calls the tensor's operator, not NumPy's

    def __init__(self, data, requires_grad: bool = False, node: Node | None = None):
        if type(data) is not np.ndarray and isinstance(data, float | int | list | tuple | np.generic):
            data = np.asarray(data)
        self.data = data
        self.grad: Any = None
        self.requires_grad = requires_grad
        self.node = node

    shape = property(lambda self: self.data.shape)
    dtype = property(lambda self: self.data.dtype)
    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: int(np.prod(self.shape, dtype=np.int64)))

    def _attached(*operands: Any, **options: Any) -> "Tensor":  # ops/basic.py puts the operations in its place
        raise NotImplementedError

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _attached
    __neg__ = __matmul__ = __rmatmul__ = __getitem__ = sum = mean = reshape = transpose = _attached
    T = property(_attached)

    def numpy(self) -> np.ndarray:
        """The values on the host. On the CPU this is the array itself, not a copy."""
        return to_host(self.data)

    def item(self) -> float:
        """The value of a tensor with one element."""
        return float(self.data.item())

    def detach(self) -> "Tensor":
        """A leaf that shares this array and needs no gradient."""
        return Tensor(self.data)

    def to(self, device: str) -> "Tensor":
        """A leaf with the same values on `device`: "cpu", "cuda" or "cuda:n". It needs a gradient if this leaf does."""
        return Tensor(to_device(self.data, device), self.requires_grad and self.node is None)

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        values = np.array2string(self.numpy(), precision=4, threshold=12, edgeitems=2, prefix="Tensor(")
        state = ", requires_grad" if self.requires_grad else ""
        return f"Tensor({values}, shape={self.shape}, {self.dtype}, {device_of(self.data)}{state})"

    def backward(self, gradient=None, retain_graph: bool = False) -> None:
        """Add d(self)/d(leaf) to `.grad` of every leaf that requires a gradient.

        gradient: d(loss)/d(self), an array of this tensor's shape; by default 1, for a tensor with one element.
        The graph is freed on the way unless `retain_graph`. Raises GraphError when there is no graph or an earlier
        backward freed it, ShapeError when the gradient has another shape.
        """
        if not self.requires_grad:
            raise GraphError("backward() on a tensor that depends on nothing with requires_grad=True")
        xp = array_module(self.data)
        compute_beside(self.data)
        if gradient is None:
            if self.size != 1:
                raise GraphError(f"backward() without a gradient needs a single number; this tensor is {self.shape}")
            gradient = xp.ones_like(self.data)
        gradient = xp.asarray(gradient, dtype=self.dtype)
        if gradient.shape != self.shape:
            raise ShapeError(f"gradient of shape {gradient.shape} for a tensor of shape {self.shape}")

        for leaf, g in leaf_gradients(self, gradient, retain_graph):
            _add_to_leaf(leaf, g)


def leaf_gradients(root: Tensor, gradient, retain_graph: bool = False) -> Iterator[tuple[Tensor, Any]]:
    """(leaf, d(loss)/d(leaf)) for every leaf that `root` depends on, as soon as it is complete.

    gradient: d(loss)/d(root), an array of its shape. Nobody else holds the arrays that are given out.
    """
    order = _post_order(root.node or root)
    gradients = {order[-1]: gradient}  # the sum so far for each node and leaf
    owned = set()  # the nodes and leaves whose array in `gradients` nobody else holds: `+=` may change it
    sums = {order[-1]}  # those whose gradient is a sum, or given: what a backward returns is rounded already
    while order:
        place = order.pop()  # the results computed from `place` were popped before it: its gradient is complete
        g = gradients.pop(place, None)
        if g is None:
            continue
        if isinstance(g, Parts):
            g = add_up(g)
            owned.add(place)
        if place in sums and getattr(place, "rounding", None) is not None:
            g = _rounded(g, place.rounding)
        if isinstance(place, Tensor):
            yield place, g if place in owned else g.copy()
            continue
        for parent, pg in zip(place.parents, place.backward(g), strict=True):
            if parent is not None and pg is not None:
                if parent in gradients or isinstance(pg, SlicedGradient):
                    sums.add(parent)
                _add_gradient(gradients, owned, parent, pg, g)
        if not retain_graph:
            place.free()


def _add_gradient(gradients, owned, key, pg, g):
    """Add `pg`, which a backward computed from `g`, to the sum in `gradients` for the node or leaf `key`."""
    if isinstance(pg, SlicedGradient):
        before, xp = gradients.get(key), array_module(g)
        if isinstance(before, Parts):
            before = add_up(before)
        if key not in owned:
            before = xp.zeros(pg.shape, dtype=g.dtype) if before is None else before.copy()
            owned.add(key)
        gradients[key] = xp.asarray(before)  # NumPy's sum of 0-d arrays is a scalar, which [key] += cannot change
        gradients[key][pg.key] += pg.values
    elif key not in gradients:
        gradients[key] = pg
        if _owner(pg) is not _owner(g):  # otherwise pg is g itself (add) or a view of it (reshape)
            owned.add(key)
    elif array_module(pg) is not np:  # added up in one kernel when all are there
        before = gradients[key]
        parts = before if isinstance(before, Parts) else [before]
        gradients[key] = Parts([*parts, pg] if len(parts) < Parts.most else [add_up(parts), pg])
    elif key in owned:
        gradients[key] += pg
    else:
        gradients[key] = gradients[key] + pg
        owned.add(key)


class Parts(list):
    """Arrays of a GPU whose sum is a gradient."""

    most = 8


def _owner(a):
    """The array whose memory the view `a` shows; `a` itself when it is no view."""
    while getattr(a, "base", None) is not None:
        a = a.base
    return a


def _add_to_leaf(leaf, g):
    total = g if leaf.grad is None else leaf.grad + g  # not in place: the caller may still hold the old leaf.grad
    leaf.grad = array_module(leaf.data).asarray(total)  # NumPy's sum of 0-d arrays is a scalar, not an array


def _post_order(root):
    """All nodes and leaves that `root` depends on, each after its parents. A stack: Python's recursion has a limit."""
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


def record(data, parents: tuple[Tensor, ...], backward: Callable, exact: bool = False) -> Tensor:
    """The result of an operation as a Tensor, with a node when a gradient will be needed.

    data: the array that the operation computed. parents: the Tensors that it read.
    backward: g, the gradient of the result, -> one gradient per parent: an array, a SlicedGradient, or None for a
    frozen parent. It must not write to g. It may return g or a view of g, or a new array; it must not return an array
    that it, or anyone else, still uses.
    exact: whether there is nothing to round: the operation only moves numbers, both ways, or has rounded them.
    """
    rounding = _rounding.get()
    if rounding is not None and not exact:
        data, backward = _rounded(data, rounding), _with_rounded_gradients(backward, rounding)
    if _recording.get() and any(p.requires_grad for p in parents):
        return Tensor(data, True, Node(parents, backward, rounding))
    return Tensor(data)


def _rounded(a, rounding):
    return rounding(a) if getattr(a, "shape", ()) else a  # neither None nor a single number


def _with_rounded_gradients(backward, rounding):
    def rounded(g):  # a SlicedGradient has values of g
        return [pg if isinstance(pg, SlicedGradient) or pg is g else _rounded(pg, rounding) for pg in backward(g)]

    return rounded


def as_tensor(x, beside: Tensor | None = None) -> Tensor:
    """`x` (a Tensor, array or number) as a Tensor. A number takes the precision and device of the Tensor `beside`."""
    if isinstance(x, Tensor):
        return x
    if beside is not None and isinstance(x, int | float | np.generic):
        number = x.item() if isinstance(x, np.generic) else x  # np.float64(2) would turn a float32 result into float64
        return Tensor(array_module(beside.data).asarray(number, dtype=np.result_type(beside.dtype, number)))
    return Tensor(x)
