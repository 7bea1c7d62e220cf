"""SiLU, SwiGLU, GELU, softmax and dropout.

Where the def line shows no shape, the inputs and the result have one shape (...), and · is element by element.
g is the gradient of y, dx that of x; σ(x) = 1 / (1 + e^-x).
"""

import math

import numpy as np

from ..autograd import Tensor, as_tensor, record
from ..backend import array_module, like
from ..device.fused import kernels
from ..errors import ConfigError


def sigmoid(x):  # array -> array
    # 1 / (1 + e^-x) = (1 + tanh(x/2)) / 2, which cannot overflow
    y = array_module(x).tanh(x * 0.5)
    y += 1
    y *= 0.5
    return y


def silu(x) -> Tensor:
    # y = x σ(x)        dx = g σ (1 + x (1 - σ)) = g (σ + y (1 - σ))
    x = as_tensor(x)
    s = sigmoid(x.data)
    return record(x.data * s, (x,), lambda g: (g * (s + x.data * s * (1 - s)),))


def swiglu(gate, up) -> Tensor:
    """y = silu(gate) · up        in the MLP of Llama models (Shazeer 2020, arXiv 2002.05202)

    dup = g silu(gate)        dgate = g · up · (σ + silu(gate) (1 - σ))
    """
    parents = gate, up = as_tensor(gate), as_tensor(up)
    to_gate, to_up = gate.requires_grad, up.requires_grad
    gate, up = gate.data, up.data
    xp = array_module(gate)

    def backward_on_device(g):
        dgate, dup = kernels(xp).swiglu_backward(g, gate, up)
        return dgate if to_gate else None, dup if to_up else None

    if xp is not np:
        return record(kernels(xp).swiglu(gate, up), parents, backward_on_device)
    half = gate * 0.5
    y = np.tanh(half)  # silu(x) = h + h tanh(h), h = x/2: see sigmoid
    y *= half
    y += half
    y *= up

    def backward(g):
        s = sigmoid(gate)  # computed again, to keep two arrays of this size instead of three
        a = gate * s  # silu(gate)
        dup = g * a if to_up else None
        if not to_gate:
            return None, dup
        a -= a * s
        a += s
        a *= up
        a *= g
        return a, dup

    return record(y, parents, backward)


def gelu(x) -> Tensor:
    """y = x (1 + t) / 2,   t = tanh(u),   u = √(2/π) (x + 0.044715 x³)        the tanh form, GPT-2's `gelu_new`

    dx = g ((1 + t) / 2 + x (1 - t²) u' / 2),   u' = √(2/π) (1 + 3 · 0.044715 x²)
    """
    tensor = as_tensor(x)
    c, k, x = math.sqrt(2 / math.pi), 0.044715, tensor.data
    if (xp := array_module(x)) is not np:
        return record(kernels(xp).gelu(x), (tensor,), lambda g: (kernels(xp).gelu_backward(g, x),))
    t = np.multiply(x, x, out=np.empty_like(x))  # x³ by multiplication: `**` calls pow for every element
    t *= c * k
    t += c
    t *= x
    np.tanh(t, out=t)
    half = x * 0.5
    y = t * half
    y += half

    def backward(g):
        du = x * x
        du *= 3 * k * c
        du += c
        dx = 1 - t * t
        dx *= du
        dx *= x
        dx += t
        dx += 1
        dx *= 0.5
        dx *= g
        return (dx,)

    return record(y, (tensor,), backward)


def softcap(x, cap: float | None) -> Tensor:
    # y = c tanh(x / c), which stays within ±c        dx = g (1 - (y / c)²)        Gemma 2 (arXiv 2408.00118)
    # None: y = x
    x = as_tensor(x)
    if cap is None:
        return x
    t = array_module(x.data).tanh(x.data / cap)
    return record(t * cap, (x,), lambda g: (g * (1 - t * t),))


def softmax_(x):  # array (..., n) -> the same array
    """Softmax over the last axis, in place. Each row's largest value is subtracted first, so e^x cannot overflow."""
    xp = array_module(x)
    if x.size:
        x -= x.max(axis=-1, keepdims=True)
    xp.exp(x, out=x)
    x /= x.sum(axis=-1, keepdims=True)
    return x


def softmax(x) -> Tensor:  # (..., n) -> (..., n)
    # p = e^x / Σ e^x        dx = p · (g - Σ g · p)        Σ over the last axis
    x = as_tensor(x)
    p = softmax_(x.data.copy())
    return record(p, (x,), lambda g: (p * (g - (g * p).sum(axis=-1, keepdims=True)),))


def dropout(x, p: float, rng: np.random.Generator | None) -> Tensor:
    """y = x · m / (1 - p),   m = 0 with probability p, else 1        dx = g · m / (1 - p)

    rng draws m on the host, so a seed gives the same m on every device. With p = 0 the result is x.
    Raises ConfigError unless 0 <= p < 1, or when rng is missing.
    """
    x = as_tensor(x)
    if not 0 <= p < 1:
        raise ConfigError(f"dropout of {p}: expected 0 <= p < 1")
    if p == 0:
        return x
    if rng is None:
        raise ConfigError("dropout while training needs a random generator: Context(training=True, rng=...)")
    keep = like(rng.random(x.shape, dtype="float32") >= p, x.data).astype(x.dtype)
    keep *= 1 / (1 - p)
    return record(x.data * keep, (x,), lambda g: (g * keep,))
