"""Causal attention with grouped queries, and the rotary embedding of positions."""

import math

import numpy as np

from ..autograd import as_tensor, record
from ..backend import array_module
from ..errors import ShapeError
from .activation import softmax_

HIDDEN = -1e30  # added to a score that must not count: e^HIDDEN is exactly 0, and no row becomes nan


def attention(q, k, v, bias=None):  # (B, T, H, hd), (B, S, K, hd), (B, S, K, hd) -> (B, T, H, hd)
    """P = softmax(q kᵀ / √hd + bias),   o = P v        query head h reads key/value head h // (H/K)

    dv = Pᵀ g        dP = g vᵀ        dS = P · (dP - Σ dP · P)        dq = dS k / √hd        dk = dSᵀ q / √hd
    Since Σ dP · P = Σ g · o (over the head width), that sum needs no array of scores.

    bias: array broadcast to (B, 1, T, S), 0 where a query sees a key and HIDDEN where not; None: all is seen.
    """
    q, k, v = as_tensor(q), as_tensor(k), as_tensor(v)
    (B, T, H, hd), (S, K) = q.shape, k.shape[1:3]
    if H % K or k.shape != v.shape or k.shape != (B, S, K, hd):
        raise ShapeError(f"attention: q {q.shape}, k {k.shape}, v {v.shape}; expected (B, T, H, hd), (B, S, K, hd)")
    G, scale = H // K, 1 / math.sqrt(hd)

    def group(x):  # (B, T, H, hd) -> (B, K, G*T, hd): the G query heads that share a key head, one below the other
        return x.reshape(B, T, K, G, hd).transpose(0, 2, 3, 1, 4).reshape(B, K, G * T, hd)

    def ungroup(x):  # (B, K, G*T, hd) -> (B, T, H, hd)
        return x.reshape(B, K, G, T, hd).transpose(0, 3, 1, 2, 4).reshape(B, T, H, hd)

    qs = group(q.data * scale)  # (B, K, GT, hd)
    kt, vt = k.data.transpose(0, 2, 1, 3), v.data.transpose(0, 2, 1, 3)  # (B, K, S, hd)
    P = qs @ kt.swapaxes(-1, -2)  # (B, K, GT, S)
    if bias is not None:
        scores = P.reshape(B, K, G, T, S)
        scores += bias[:, :, None]
    P = softmax_(P)
    o = P @ vt  # (B, K, GT, hd)

    def backward(g):
        g = group(g)
        dv = P.swapaxes(-1, -2) @ g if v.requires_grad else None  # (B, K, S, hd)
        dq = dk = None
        if q.requires_grad or k.requires_grad:
            dS = g @ vt.swapaxes(-1, -2)  # dP  (B, K, GT, S)
            dS -= (g * o).sum(axis=-1, keepdims=True)
            dS *= P
            dq = ungroup(dS @ kt) * scale if q.requires_grad else None
            dk = (dS.swapaxes(-1, -2) @ qs).transpose(0, 2, 1, 3) if k.requires_grad else None  # qs has the scale
        return dq, dk, None if dv is None else dv.transpose(0, 2, 1, 3)

    return record(ungroup(o), (q, k, v), backward)


def causal_bias(T, S, mask=None, dtype=np.float32, window=None):  # (B, S) bool -> (B or 1, 1, T, S) or None
    """Who sees whom: query i of the last T of S positions sees the keys up to its own place that `mask` allows.

    window: only that many of them, its own included (sliding-window attention, as in Mistral). A host array. None when
    nothing is hidden: one new token, no padding, no key outside the window.
    """
    if T == 1 and mask is None and (window is None or S <= window):
        return None
    if mask is not None and mask.shape[-1] != S:
        raise ShapeError(f"mask of shape {mask.shape} for {S} keys: expected (batch, {S})")
    key, query = np.arange(S, dtype=np.int64), np.arange(S - T, S, dtype=np.int64)[:, None]
    seen = key <= query  # (T, S)
    if window is not None:
        seen &= key > query - window
    seen = seen[None] if mask is None else seen & mask[:, None, :]
    return np.where(seen, 0, HIDDEN).astype(dtype)[:, None]


def rotary_angles(positions, inv_freq, dtype=np.float32):  # (B, T) int64, (hd/2,) -> two arrays (B, T, 1, hd/2)
    """cos and sin of position times frequency, computed in float32 as Hugging Face's models do. Host arrays."""
    angle = positions.astype(np.float32)[..., None, None] * inv_freq.astype(np.float32)
    return np.cos(angle).astype(dtype), np.sin(angle).astype(dtype)


def rotary(x, cos, sin):  # (B, T, H, hd), (B, T, 1, hd/2), (B, T, 1, hd/2) -> (B, T, H, hd)
    """Turn the pairs (x_i, x_{i + hd/2}) by the angle of their position (Su et al. 2021, arXiv 2104.09864).

    y1 = x1 c - x2 s        y2 = x2 c + x1 s        the gradient is turned back: by the angle with the other sign
    """
    x = as_tensor(x)

    def turn(a, s):
        half = a.shape[-1] // 2
        a1, a2 = a[..., :half], a[..., half:]
        y = array_module(a).empty_like(a)
        y[..., :half] = a1 * cos
        y[..., :half] -= a2 * s
        y[..., half:] = a2 * cos
        y[..., half:] += a1 * s
        return y

    return record(turn(x.data, sin), (x,), lambda g: (turn(g, -sin),))
