"""Check a hand-written backward against central differences, in float64.

Two evaluations give one derivative:

    df/dx ≈ (f(x + ε) - f(x - ε)) / 2ε        error of order ε² from the curvature, u/ε from rounding (u ≈ 1e-16)
"""

from dataclasses import dataclass

import numpy as np

from .autograd import no_grad
from .backend import array_module, like, to_host


@dataclass
class Worst:
    """The element where the two gradients differ most, of all inputs."""

    input: int
    index: tuple
    analytic: float
    numeric: float
    allowed: float

    @property
    def error(self):
        return abs(self.analytic - self.numeric)

    def __str__(self):
        return (
            f"input {self.input} at {list(self.index)}: analytic {self.analytic:.10g}, numeric {self.numeric:.10g}, "
            f"difference {self.error:.2g}, allowed {self.allowed:.2g}"
        )


def numeric_gradient(f, inputs, which, weights, eps=1e-5):  # -> host array like inputs[which]
    """d(Σ weights · f(*inputs)) / d inputs[which], two evaluations per element."""
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


def gradcheck(f, inputs, eps=1e-5, rtol=1e-7, atol=1e-9, seed=0):
    """Compare the backward of `f` with central differences; returns the `Worst` element (None when all are empty).

    f: takes the Tensors in `inputs`, returns a Tensor of any shape; it is reduced with random weights, so that an
    error cannot cancel in a sum. inputs: float64 Tensors; those with requires_grad are checked.
    Raises AssertionError naming the element and both numbers when |analytic - numeric| exceeds
    rtol * max|gradient of that input| + atol; also when f writes into an input, when a frozen input received a
    gradient, and when a gradient shares memory with another array. TypeError for inputs that are not float64.
    """
    for i, t in enumerate(inputs):
        if t.dtype != np.float64:
            raise TypeError(f"gradcheck input {i} is {t.dtype}; a check in less than float64 proves nothing")
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

    worst, worst_excess = None, -1.0
    for i, t in enumerate(inputs):
        if not t.requires_grad or t.size == 0:
            continue
        numeric = numeric_gradient(f, inputs, i, like(weights, y.data), eps)
        analytic = np.zeros(t.shape) if t.grad is None else to_host(t.grad)
        if analytic.shape != t.shape:
            raise AssertionError(f"gradient of input {i} has shape {analytic.shape}, the input {t.shape}")
        error = np.abs(analytic - numeric)
        error = np.where(np.isfinite(error), error, np.inf)  # nan and overflow are errors, whatever is allowed
        largest = np.abs(numeric).max()
        allowed = float(rtol * largest + atol if np.isfinite(largest) else atol)
        index = np.unravel_index(error.argmax(), error.shape)
        if error[index] / allowed > worst_excess:
            worst_excess = error[index] / allowed
            worst = Worst(i, tuple(int(k) for k in index), float(analytic[index]), float(numeric[index]), allowed)
    if worst is not None and worst_excess > 1:
        raise AssertionError(f"gradient wrong: {worst}")
    return worst


def _check_memory(inputs, upstream):
    """Every gradient is an array of its own: writing into one may change no other, no value, and not the upstream."""
    others = [(f"the value of input {i}", t.data) for i, t in enumerate(inputs)] + [("the upstream gradient", upstream)]
    for i, t in enumerate(inputs):
        if t.grad is not None:
            for name, array in others:
                if array_module(t.grad).shares_memory(t.grad, array):
                    raise AssertionError(f"the gradient of input {i} shares memory with {name}")
            others.append((f"the gradient of input {i}", t.grad))
