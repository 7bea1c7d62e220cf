"""Chains of element-wise arithmetic, each as one expression, for a device: `cupy.fuse` makes one kernel of each.

The forms beside the equations work in place, which suits a CPU; a GPU would launch a kernel for every sign in them, and
mostly wait. A test holds the two forms together. A number given as an argument must be np.float32: a Python one would
be float64 in a kernel, and so would be all that it meets. A number written in an expression takes its array's type.
"""

import functools
import math
from types import SimpleNamespace

C, K = math.sqrt(2 / math.pi), 0.044715  # of GELU: c and k in activation.py


@functools.cache
def kernels(xp):  # cupy -> the functions of `chains`, fused: compiled when they first meet a type, then kept
    return SimpleNamespace(**{name: xp.fuse(kernel_name=name)(chain) for name, chain in chains(xp).items()})


def chains(xp):  # -> {name: function of arrays that broadcast}
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

    def rotate_pairs(x, swapped, cos, sin):  # rotary positions; swapped: [x2, x1]
        return x * cos + swapped * sin

    def exponentials(scores, largest):
        return xp.exp(scores - largest)

    def softmax_backward(dP, E, shift):
        return (dP - shift) * E

    def rms_norm_backward(u, h, rho, product):  # as in norm.py: u = g · w, h normalised; product: mean(u · h)
        return (u - h * product) / rho

    def layer_norm_backward(u, h, sigma, mean, product):  # mean: of u
        return (u - mean - h * product) / sigma

    def adamw(p, m, v, g, beta1, rest1, beta2, rest2, eps, rate, keep):  # p, m, v in place
        # rest: 1 - beta; the corrections of the bias are in eps and rate, the decay in keep: see optim.py
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
