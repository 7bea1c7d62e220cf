"""Element-wise arithmetic for a GPU: each function below is one expression, which `cupy.fuse` makes into one kernel.

The other files of this folder compute the same in place, which suits a CPU; on a GPU each of their steps would be a
kernel of its own, and launching it would take longer than the arithmetic. A test holds the two forms together.
A number passed as an argument must be np.float32: a Python float would become float64 in the kernel and turn the whole
expression into float64. A number written in an expression takes its array's type.
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

    def rotate_pairs(x, swapped, cos, sin):  # as in attention.py: x = [x1, x2], swapped = [x2, x1]
        return x * cos + swapped * sin

    def exponentials(scores, largest):
        return xp.exp(scores - largest)

    def softmax_backward(dP, E, shift):
        return (dP - shift) * E

    def rms_norm_backward(u, h, rho, product):  # as in norm.py: u = g · w, h = x / ρ, product = mean(u · h)
        return (u - h * product) / rho

    def layer_norm_backward(u, h, sigma, mean, product):  # as in norm.py: mean = mean(u), product = mean(u · h)
        return (u - mean - h * product) / sigma

    def adamw(p, m, v, g, beta1, rest1, beta2, rest2, eps, rate, keep):  # changes p, m and v
        # as in optim.py: rest = 1 - beta; eps and rate include the bias corrections, keep includes the weight decay
        m *= beta1
        m += g * rest1
        v *= beta2
        v += g * g * rest2
        p *= keep
        p -= rate * m / (xp.sqrt(v) + eps)
        return p

    arithmetic = (
        swiglu, swiglu_backward, gelu, gelu_backward, rotate_pairs, exponentials, softmax_backward, rms_norm_backward,
        layer_norm_backward, adamw,
    )  # fmt: skip
    return {function.__name__: function for function in arithmetic}
