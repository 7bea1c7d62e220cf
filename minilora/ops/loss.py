"""Cross-entropy in nats: softmax, logarithm and mean as one operation, which keeps one array of the logits' size.

`...` any leading axes (batch, tokens)   N all of them as one   V vocabulary   d width of the model
"""

import numpy as np

from ..autograd import Tensor, as_tensor, is_recording, record
from ..backend import array_module
from ..device.loss import cross_entropy_on_device, linear_cross_entropy_on_device
from ..errors import ShapeError
from .linear import check_ids

IGNORE = -100  # the label of a position that the loss leaves out, as in PyTorch
ROW_BLOCK = 256  # positions whose logits linear_cross_entropy holds at a time


def cross_entropy(logits, targets, ignore_index: int = IGNORE) -> Tensor:  # (..., V), (...) int -> ()
    """L = mean of  log Σ e^z - z_t  over the n targets t that are not `ignore_index`; z: their logits

    dz = (softmax(z) - onehot(t)) / n        L is nan when every target is ignored, as in PyTorch

    Raises ShapeError when the shapes do not fit together, or for a target outside 0..V-1.

    >>> cross_entropy(np.zeros((1, 4)), np.array([2])).item()  # four equal chances: log 4 nats
    1.3862943611198906
    """
    logits = as_tensor(logits)
    V = logits.shape[-1]
    if tuple(targets.shape) != logits.shape[:-1]:
        raise ShapeError(f"targets of shape {tuple(targets.shape)} for logits of shape {logits.shape}")
    t, weight, some = _target_weights(targets, ignore_index, V, logits.dtype)
    if array_module(logits.data) is not np:
        return cross_entropy_on_device(logits, t, weight, some)
    p = logits.data.reshape(-1, V).copy()
    total, losses = _exponentials_(p, t)

    def backward(g):
        dz = p * (weight * g / total)[:, None]
        dz[np.arange(len(t)), t] -= weight * g
        return (dz.reshape(logits.shape),)

    return record(_weighted_sum(losses, weight, some), (logits,), backward)


def linear_cross_entropy(h, W, targets, ignore_index: int = IGNORE) -> Tensor:  # (N, d), (V, d), (N,) int -> ()
    """cross_entropy(linear(h, W), targets) for a frozen W, with the logits of only ROW_BLOCK rows in memory at a time.

    The forward computes dh = dz W too, while it has those logits; the backward multiplies it by g. For n targets,
    E = e^(z - max z) and its row sums Σ:  dh = (E W / Σ - W[t]) / n,  which divides and subtracts d columns, not V.
    Raises ShapeError when the shapes do not fit together, W is not frozen, or a target is outside 0..V-1.
    """
    h = as_tensor(h)
    if tuple(targets.shape) != h.shape[:-1] or h.ndim != 2 or W.requires_grad:
        raise ShapeError(f"targets of shape {tuple(targets.shape)} for h of shape {h.shape}; W must be frozen")
    V, x = len(W), h.data
    t, weight, some = _target_weights(targets, ignore_index, V, x.dtype)
    if array_module(x) is not np:
        return linear_cross_entropy_on_device(h, W, t, weight, some)
    losses = np.empty(len(t), dtype=x.dtype)
    dh = np.empty(x.shape, dtype=x.dtype) if h.requires_grad and is_recording() else None
    logits = np.empty((min(ROW_BLOCK, len(t)), V), dtype=x.dtype)  # every block uses this memory
    for start in range(0, len(t), ROW_BLOCK):
        rows = slice(start, start + ROW_BLOCK)
        z = logits[: len(x[rows])]
        np.matmul(x[rows], W.data.T, out=z)
        total, losses[rows] = _exponentials_(z, t[rows])
        if dh is not None:
            np.matmul(z, W.data, out=dh[rows])
            dh[rows] *= (weight[rows] / total)[:, None]
            dh[rows] -= weight[rows][:, None] * W.data[t[rows]]
    return record(_weighted_sum(losses, weight, some), (h,), lambda g: (dh * g,))


def _target_weights(targets, ignore_index, V, dtype):  # -> (N,) int64, (N,), bool
    """t; weight, 1/n for each of the n targets that count; whether one does. An ignored target is 0 in both arrays."""
    t = targets.reshape(-1)
    counts = t != ignore_index
    xp = array_module(t)
    weight = counts.astype(dtype)
    n = weight.sum()
    weight /= xp.maximum(n, 1)
    return check_ids(xp.where(counts, t, 0), V, "target"), weight, bool(n > 0) if xp is np else n > 0


def _exponentials_(z, t):  # (N, V), (N,) -> Σ e^(z - max z) (N,), log Σ e^z - z_t (N,); z becomes e^(z - max z)
    if z.size:
        z -= z.max(axis=-1, keepdims=True)
    picked = z[np.arange(len(t)), t]
    np.exp(z, out=z)
    total = z.sum(axis=-1)
    return total, np.log(total) - picked


def _weighted_sum(losses, weight, some):  # (N,), (N,) -> (); nan when no target counts
    return (losses * weight).sum() if some else losses.dtype.type(np.nan)
