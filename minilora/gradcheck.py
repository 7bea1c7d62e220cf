"""Check a hand-written backward against central differences, in float64.

    df/dx ≈ (f(x + ε) - f(x - ε)) / 2ε        error of order ε² from the curvature, u/ε from rounding (u ≈ 1e-16)
"""

from dataclasses import dataclass

import numpy as np

from .autograd import no_grad
from .backend import like, to_host


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
    rtol * max|gradient of that input| + atol, and when a frozen input received a gradient.
    """
    for i, t in enumerate(inputs):
        if t.dtype != np.float64:
            raise TypeError(f"gradcheck input {i} is {t.dtype}; a check in less than float64 proves nothing")
        t.grad = None
    y = f(*inputs)
    weights = like(np.asarray(np.random.default_rng(seed).standard_normal(y.shape)), y.data)
    y.backward(weights)

    worst, worst_excess = None, -1.0
    for i, t in enumerate(inputs):
        if not t.requires_grad:
            assert t.grad is None, f"input {i} is frozen but received a gradient"
            continue
        if t.size == 0:
            continue
        numeric = numeric_gradient(f, inputs, i, weights, eps)
        analytic = np.zeros(t.shape) if t.grad is None else to_host(t.grad)
        assert analytic.shape == t.shape, f"gradient of input {i} has shape {analytic.shape}, the input {t.shape}"
        allowed = rtol * np.abs(numeric).max() + atol
        error = np.abs(analytic - numeric)
        error[np.isnan(error)] = np.inf
        index = np.unravel_index(error.argmax(), error.shape)
        if error[index] / allowed > worst_excess:
            worst_excess = error[index] / allowed
            worst = Worst(i, tuple(int(k) for k in index), float(analytic[index]), float(numeric[index]), allowed)
    if worst is not None and not worst_excess <= 1:
        raise AssertionError(f"gradient wrong: {worst}")
    return worst
