"""Normalisation over the last axis: layer norm and RMS norm. Statistics in at least float32."""

import numpy as np

from ..autograd import as_tensor, record
from ..backend import array_module, inner
from .fused import kernels


def layer_norm(x, w, b, eps=1e-5):  # (..., d), (d,), (d,) -> (..., d)
    """y = w · h + b,   h = (x - μ) / σ,   μ = mean(x),   σ² = mean((x - μ)²) + eps

    with u = g · w:   dx = (u - mean(u) - h · mean(u · h)) / σ        dw = Σ g · h        db = Σ g
    """
    x = as_tensor(x)
    h = _wide(x.data)
    h = h - h.sum(axis=-1, keepdims=True) / h.shape[-1]
    to_x, xp = x.requires_grad, array_module(h)
    inv = 1 / xp.sqrt(_mean_product(h, h) + eps)  # 1/σ  (..., 1)
    h *= inv

    def backward(g):
        dx = None
        if to_x:
            u = g * w.data
            mean, product = u.sum(axis=-1, keepdims=True) / u.shape[-1], _mean_product(u, h)
            if xp is not np:
                dx = kernels(xp).layer_norm_backward(u, h, inv, mean, product)
            else:
                dx = h * product
                dx += mean
                dx = np.subtract(u, dx, out=dx)
                dx *= inv
        return dx, _sum_rows(g * h) if w.requires_grad else None, _sum_rows(g) if b.requires_grad else None

    return record((h * w.data + b.data).astype(x.dtype, copy=False), (x, w, b), backward)


def rms_norm(x, w, eps=1e-6):  # (..., d), (d,) -> (..., d)
    """y = w · h,   h = x / ρ,   ρ² = mean(x²) + eps

    with u = g · w:   dx = (u - h · mean(u · h)) / ρ        dw = Σ g · h
    """
    x = as_tensor(x)
    wide, to_x, xp = _wide(x.data), x.requires_grad, array_module(x.data)
    inv = 1 / xp.sqrt(_mean_product(wide, wide) + eps)  # 1/ρ  (..., 1)

    def backward(g):
        dx = None
        h = wide * inv  # computed again: one pass, instead of keeping a copy of every activation
        if to_x:
            u = g * w.data
            product = _mean_product(u, h)
            if xp is not np:
                dx = kernels(xp).rms_norm_backward(u, h, inv, product)
            else:
                dx = h * -product
                dx += u
                dx *= inv
        return dx, _sum_rows(g * h) if w.requires_grad else None

    return record((wide * inv).astype(x.dtype, copy=False) * w.data, (x, w), backward)


def _wide(x):
    return x.astype(np.float32) if x.dtype == np.float16 else x


def _mean_product(a, b):  # (..., d), (..., d) -> (..., 1)
    return (inner(a, b) / a.shape[-1])[..., None]


def _sum_rows(g):  # (..., d) -> (d,)
    return g.reshape(-1, g.shape[-1]).sum(axis=0)
