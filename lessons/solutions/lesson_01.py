"""Solutions of lesson 1. One way to write each; `minilora check 1 --dir lessons/solutions` shows that they pass."""

import numpy as np


def central_difference(f, x, eps):
    return (f(x + eps) - f(x - eps)) / (2 * eps)


def numeric_gradient(f, x, eps):
    z = x.copy()  # the caller's x stays as it is
    gradient = np.zeros_like(x)
    for i in np.ndindex(*x.shape):
        z[i] = x[i] + eps
        high = f(z)
        z[i] = x[i] - eps
        low = f(z)
        z[i] = x[i]  # restored before the next element moves
        gradient[i] = (high - low) / (2 * eps)
    return gradient


def silu_backward(x, g):
    s = 1 / (1 + np.exp(-x))
    return g * (s + x * s * (1 - s))  # product rule: x' σ + x σ', and σ' = σ (1 - σ)
