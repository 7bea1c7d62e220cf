"""Arithmetic for a GPU in few kernels: `cupy.fuse` makes each function below into one.

The files of ops/ compute the same in place, which suits a CPU; on a GPU each of their steps would be a
kernel of its own, and launching it would take longer than the arithmetic. A test holds the two forms together.
A function is arithmetic element by element, and may end with one sum over the last axis. One that returns nothing
writes into its arguments. A number passed as an argument must be np.float32: a Python float would become float64 in the
kernel and turn the whole expression into float64. A number written in an expression takes its array's type.
No sum is over rows beside a column (..., 1): CuPy gives neighbours in memory to neighbouring threads, and looks at the
column too, so that each thread would read a row of its own.
"""

import functools
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

C, K = math.sqrt(2 / math.pi), 0.044715  # the constants of GELU: c and k in activation.py


@functools.cache
def kernels(xp: Any) -> SimpleNamespace:
    """The functions of `chains`, fused by CuPy, which compiles each one at its first call with a type."""
    return SimpleNamespace(**{name: xp.fuse(kernel_name=name)(chain) for name, chain in chains(xp).items()})


def chains(xp: Any) -> dict[str, Callable]:
    """The functions by name. Their arrays broadcast. `xp` is numpy (in tests) or cupy."""

    def swiglu(gate, up):
        return gate * ((xp.tanh(gate * 0.5) + 1) * 0.5) * up

    def swiglu_backward(g, gate, up):  # -> dgate, dup
        s = (xp.tanh(gate * 0.5) + 1) * 0.5
        a = gate * s
        return g * up * (s + a - a * s), g * a

    def gelu(x):
        return x * 0.5 * (1 + xp.tanh((x + K * x * x * x) * C))

    def gelu_backward(g, x):
        t = xp.tanh((x + K * x * x * x) * C)
        return g * 0.5 * (1 + t + x * (1 - t * t) * (C + 3 * K * C * x * x))

    def rotate_pairs(x1, x2, cos, sin, y1, y2):  # writes y1 and y2
        y1[...] = x1 * cos - x2 * sin
        y2[...] = x2 * cos + x1 * sin

    def mask_scores(scores, bias, scale):  # changes scores
        scores *= scale
        scores += bias

    def exponentials(z, largest, E):  # writes E, which may be z
        E[...] = xp.exp(z - largest)

    def softmax_backward(dP, E, shift, scale):  # changes dP
        dP -= shift
        dP *= E
        dP *= scale

    def sum_2(a, b):  # Σ a · b over the last axis
        return xp.sum(a * b, axis=-1)

    def sum_3(a, b, c):  # Σ a · b · c over the last axis
        return xp.sum(a * b * c, axis=-1)

    def losses(total, picked, largest, loss):  # writes loss: log Σ e^z - z_t, where total is Σ e^(z - largest)
        loss[...] = xp.log(total) - (picked - largest)

    def loss_gradient(dh, row, weight, total):  # changes dh; as in loss.py: E W -> dh, row = W[t]
        dh *= weight / total
        dh -= weight * row

    def probabilities(E, weight, total, g):  # softmax(z) · weight · g
        return E * (weight * g / total)

    # as in norm.py: squares = Σ x², along = Σ u · x, n = 1/d

    def rms_norm(x, w, squares, n, eps):
        return x / xp.sqrt(squares * n + eps) * w

    def rms_norm_backward(g, w, x, squares, along, n, eps):
        rho2 = squares * n + eps
        return (g * w - x * (along * n / rho2)) / xp.sqrt(rho2)

    # as in norm.py: sums = Σ x, c = x - μ, squares = Σ c², u_sums = Σ u, along = Σ u · c, n = 1/d

    def centred(x, sums, n):
        return x - sums * n

    def layer_norm(c, w, b, squares, n, eps):
        return c / xp.sqrt(squares * n + eps) * w + b

    def layer_norm_backward(g, w, c, squares, u_sums, along, n, eps):
        sigma2 = squares * n + eps
        return (g * w - u_sums * n - c * (along * n / sigma2)) / xp.sqrt(sigma2)

    def adamw(p, m, v, g, beta1, rest1, beta2, rest2, eps, rate, keep):  # changes p, m and v
        # as in optim.py: rest = 1 - beta; eps and rate include the bias corrections, keep includes the weight decay
        m *= beta1
        m += g * rest1
        v *= beta2
        v += g * g * rest2
        p *= keep
        p -= rate * m / (xp.sqrt(v) + eps)

    functions = (
        swiglu, swiglu_backward, gelu, gelu_backward, rotate_pairs, mask_scores, exponentials, softmax_backward, losses,
        loss_gradient, probabilities, sum_2, sum_3, rms_norm, rms_norm_backward, centred, layer_norm,
        layer_norm_backward, adamw,
    )  # fmt: skip
    return {function.__name__: function for function in functions}
