"""Check a hand-written backward against central differences, in float64.

Two evaluations of f give one derivative:

    df/dx ≈ (f(x + ε) - f(x - ε)) / 2ε        its error: about ε² from curvature and u/ε from rounding (u ≈ 1e-16)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .autograd import Tensor, no_grad
from .backend import array_module, like, to_host


@dataclass
class Worst:
    """The element where the two gradients differ most, measured against the difference allowed there."""

    input: int  # its place in `inputs`
    index: tuple[int, ...]  # the place of the element in that input
    analytic: float  # the derivative that the backward gave
    numeric: float  # the derivative from two evaluations
    allowed: float  # the largest difference that passes

    @property
    def error(self) -> float:
        difference = abs(self.analytic - self.numeric)
        return difference if math.isfinite(difference) else math.inf  # nan and overflow are errors too

    @property
    def excess(self) -> float:  # above 1: the backward is wrong
        return self.error / self.allowed

    def __str__(self) -> str:
        return (
            f"input {self.input} at {list(self.index)}: analytic {self.analytic:.10g}, numeric {self.numeric:.10g}, "
            f"difference {self.error:.2g}, allowed {self.allowed:.2g}"
        )


def numeric_gradient(f: Callable, inputs: list[Tensor], which: int, weights, eps: float = 1e-5) -> np.ndarray:
    """d(Σ weights · f(*inputs)) / d inputs[which] by two evaluations per element; a host array of that input's shape.

    weights: an array of the shape of f's result. The values of the input are changed and put back.
    """
    x = inputs[which].data
    gradient = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        centre = float(x[index])
        values = []
        for step in (eps, -eps):
            x[index] = centre + step
            with no_grad():
                values.append(float((f(*inputs).data * weights).sum()))
        x[index] = centre
        gradient[index] = (values[0] - values[1]) / (2 * eps)
    return gradient


def gradcheck(
    f: Callable, inputs: list[Tensor], eps: float = 1e-5, rtol: float = 1e-7, atol: float = 1e-9, seed: int = 0
) -> Worst | None:
    """Compare the backward of `f` with central differences. Returns the worst element; None when all inputs are empty.

    f: takes the Tensors in `inputs`, returns a Tensor of any shape; random weights (from `seed`) reduce it to a number,
    so that errors cannot cancel in a sum. inputs: float64 Tensors; those with requires_grad are checked.
    Raises AssertionError, with the element and both numbers, where |analytic - numeric| is above
    rtol * max|gradient of that input| + atol; also when f writes into an input, when a frozen input receives a
    gradient, and when a gradient shares memory with another array. Raises TypeError for inputs that are not float64.
    """
    for i, t in enumerate(inputs):
        if t.dtype != np.float64:
            raise TypeError(f"gradcheck input {i} is {t.dtype}, expected float64: other types are too inexact")
        t.grad = None
    before = [t.data.copy() for t in inputs]
    y = f(*inputs)
    weights = np.random.default_rng(seed).standard_normal(y.shape)
    upstream = like(weights.copy(), y.data)
    y.backward(upstream)
    for i, t in enumerate(inputs):
        if not np.array_equal(to_host(t.data), to_host(before[i])):
            raise AssertionError(f"f writes into input {i}")
        if t.grad is not None and not t.requires_grad:
            raise AssertionError(f"input {i} is frozen but received a gradient")
    _check_memory(inputs, upstream)

    worst = None
    for i, t in enumerate(inputs):
        if t.requires_grad and t.size > 0:
            numeric = numeric_gradient(f, inputs, i, like(weights, y.data), eps)
            analytic = np.zeros(t.shape) if t.grad is None else to_host(t.grad)
            if analytic.shape != t.shape:
                raise AssertionError(f"the gradient of input {i} has shape {analytic.shape}, the input {t.shape}")
            element = _worst_element(i, analytic, numeric, rtol, atol)
            worst = element if worst is None or element.excess > worst.excess else worst
    if worst is not None and worst.excess > 1:
        raise AssertionError(f"gradient wrong: {worst}")
    return worst


def _worst_element(i, analytic, numeric, rtol, atol):  # two arrays of one shape -> Worst
    error = np.abs(analytic - numeric)
    index = np.where(np.isfinite(error), error, np.inf).argmax()
    largest = np.abs(numeric).max()
    allowed = float(rtol * largest + atol if np.isfinite(largest) else atol)
    place = tuple(int(k) for k in np.unravel_index(index, error.shape))
    return Worst(i, place, float(analytic[place]), float(numeric[place]), allowed)


def _check_memory(inputs, upstream):
    """Raise AssertionError when a gradient shares memory with another gradient, an input's values or the upstream."""
    others = [(f"the value of input {i}", t.data) for i, t in enumerate(inputs)] + [("the upstream gradient", upstream)]
    for i, t in enumerate(inputs):
        if t.grad is not None:
            for name, array in others:
                if array_module(t.grad).shares_memory(t.grad, array):
                    raise AssertionError(f"the gradient of input {i} shares memory with {name}")
            others.append((f"the gradient of input {i}", t.grad))
