"""Normalisation over the last axis: layer norm and RMS norm.

`...` any leading axes (batch, tokens)   d width of the model   mean over the last axis   Σ over the leading axes
"""

import functools

import numpy as np

from ..autograd import Tensor, as_tensor, record
from ..backend import array_module, inner, sum_rows
from ..device.norm import layer_norm_on_device, rms_norm_on_device


def layer_norm(x, w, b, eps: float = 1e-5) -> Tensor:  # (..., d), (d,), (d,) -> (..., d)
    """y = w · h + b,   h = (x - μ) / σ,   μ = mean(x),   σ² = mean((x - μ)²) + eps

    with u = g · w:   dx = (u - mean(u) - h · mean(u · h)) / σ        dw = Σ g · h        db = Σ g
    """
    x = as_tensor(x)
    if array_module(x.data) is not np:
        return layer_norm_on_device(x, w, b, eps)
    h = x.data - _mean(x.data)
    to_x = x.requires_grad
    sigma = np.sqrt(_mean_product(h, h) + eps)  # (..., 1)
    h /= sigma

    def backward(g):
        dx = None
        if to_x:
            u = g * w.data
            mean, product = _mean(u), _mean_product(u, h)
            dx = h * product
            dx += mean
            dx = np.subtract(u, dx, out=dx)
            dx /= sigma
        return dx, sum_rows(g * h) if w.requires_grad else None, sum_rows(g) if b.requires_grad else None

    y = h * w.data
    y += b.data
    return record(y, (x, w, b), backward)


def rms_norm(x, w, eps: float = 1e-6) -> Tensor:  # (..., d), (d,) -> (..., d)
    """y = w · h,   h = x / ρ,   ρ² = mean(x²) + eps

    with u = g · w:   dx = (u - h · mean(u · h)) / ρ        dw = Σ g · h
    """
    x = as_tensor(x)
    if array_module(x.data) is not np:
        return rms_norm_on_device(x, w, eps)
    a, to_x = x.data, x.requires_grad
    rho = np.sqrt(_mean_product(a, a) + eps)  # (..., 1)

    def backward(g):
        dx = None
        h = a / rho  # computed again, which is cheaper than keeping a copy of every activation
        if to_x:
            u = g * w.data
            dx = h * -_mean_product(u, h)
            dx += u
            dx /= rho
        return dx, sum_rows(g * h) if w.requires_grad else None

    return record(a / rho * w.data, (x, w), backward)


def _mean(a):  # (..., d) -> (..., 1)
    return (inner(a, _ones(a.shape[-1], a.dtype)) / a.shape[-1])[..., None]  # three times as fast as NumPy's mean


@functools.lru_cache(16)
def _ones(d, dtype):
    return np.ones(d, dtype)


def _mean_product(a, b):  # (..., d), (..., d) -> (..., 1)
    return (inner(a, b) / a.shape[-1])[..., None]
