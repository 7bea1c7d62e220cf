"""Normalisation over the last axis: layer norm and RMS norm.

`...` any leading axes (batch, tokens)   d width of the model   mean over the last axis   Σ over the leading axes
"""

import functools

import numpy as np

from ..autograd import Tensor, as_tensor, record
from ..backend import array_module, inner
from .fused import kernels


def layer_norm(x, w, b, eps: float = 1e-5) -> Tensor:  # (..., d), (d,), (d,) -> (..., d)
    """y = w · h + b,   h = (x - μ) / σ,   μ = mean(x),   σ² = mean((x - μ)²) + eps

    with u = g · w:   dx = (u - mean(u) - h · mean(u · h)) / σ        dw = Σ g · h        db = Σ g
    """
    x = as_tensor(x)
    h = x.data - _mean(x.data)
    to_x, xp = x.requires_grad, array_module(h)
    sigma = xp.sqrt(_mean_product(h, h) + eps)  # (..., 1)
    h /= sigma

    def backward(g):
        dx = None
        if to_x:
            u = g * w.data
            mean, product = _mean(u), _mean_product(u, h)
            if xp is not np:
                dx = kernels(xp).layer_norm_backward(u, h, sigma, mean, product)
            else:
                dx = h * product
                dx += mean
                dx = np.subtract(u, dx, out=dx)
                dx /= sigma
        return dx, _sum_rows(g * h) if w.requires_grad else None, _sum_rows(g) if b.requires_grad else None

    y = h * w.data
    y += b.data
    return record(y, (x, w, b), backward)


def rms_norm(x, w, eps: float = 1e-6) -> Tensor:  # (..., d), (d,) -> (..., d)
    """y = w · h,   h = x / ρ,   ρ² = mean(x²) + eps

    with u = g · w:   dx = (u - h · mean(u · h)) / ρ        dw = Σ g · h
    """
    x = as_tensor(x)
    a, to_x, xp = x.data, x.requires_grad, array_module(x.data)
    rho = xp.sqrt(_mean_product(a, a) + eps)  # (..., 1)

    def backward(g):
        dx = None
        h = a / rho  # computed again, which is cheaper than keeping a copy of every activation
        if to_x:
            u = g * w.data
            product = _mean_product(u, h)
            if xp is not np:
                dx = kernels(xp).rms_norm_backward(u, h, rho, product)
            else:
                dx = h * -product
                dx += u
                dx /= rho
        return dx, _sum_rows(g * h) if w.requires_grad else None

    return record(a / rho * w.data, (x, w), backward)


def _mean(a):  # (..., d) -> (..., 1)
    if not isinstance(a, np.ndarray):
        return a.mean(axis=-1, keepdims=True)
    return (inner(a, _ones(a.shape[-1], a.dtype)) / a.shape[-1])[..., None]  # three times as fast as NumPy's mean


@functools.lru_cache(16)
def _ones(d, dtype):
    return np.ones(d, dtype)


def _mean_product(a, b):  # (..., d), (..., d) -> (..., 1)
    return (inner(a, b) / a.shape[-1])[..., None]


def _sum_rows(g):  # (..., d) -> (d,)
    return g.reshape(-1, g.shape[-1]).sum(axis=0)
