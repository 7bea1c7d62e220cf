"""Cross-entropy: the softmax and the logarithm in one, so that the probabilities are kept once."""

import numpy as np

from ..autograd import as_tensor, is_recording, record
from ..backend import array_module, like
from ..errors import ShapeError
from .linear import check_ids

IGNORE = -100  # the label of a position that the loss leaves out, as in PyTorch
ROWS = 256  # positions whose logits linear_cross_entropy has at a time


def cross_entropy(logits, targets, ignore_index=IGNORE):  # (..., V), (...) int -> ()
    """L = mean over the targets t that are not `ignore_index` of   log Σ e^z - z_t

    dz = (softmax(z) - onehot(t)) / n        nan when every target is ignored, as in PyTorch
    """
    logits = as_tensor(logits)
    V = logits.shape[-1]
    if tuple(targets.shape) != logits.shape[:-1]:
        raise ShapeError(f"targets of shape {tuple(targets.shape)} for logits of shape {logits.shape}")
    t, weight = _targets(targets, ignore_index, V, logits.data)
    p = logits.data.reshape(-1, V).copy()
    total, losses = _exponentials_(p, t)
    loss = _mean(losses, weight)

    def backward(g):
        dz = p * (weight * g / total)[:, None]
        dz[array_module(dz).arange(len(t)), t] -= weight * g
        return (dz.reshape(logits.shape),)

    return record(loss, (logits,), backward)


def linear_cross_entropy(h, W, targets, ignore_index=IGNORE):  # (n, d), (V, d) frozen, (n,) int -> ()
    """cross_entropy(linear(h, W), targets) for a frozen W, some rows at a time: there are never all (n, V) logits.

    dh = dz W is made in the forward, while those rows are at hand; the backward scales it by g. With E = e^(z - max z)
    and its row sums Σ it is (E W / Σ - W[t]) / n: the division and the -1 are done on d columns, not on V.
    """
    h = as_tensor(h)
    if tuple(targets.shape) != h.shape[:-1] or h.ndim != 2 or W.requires_grad:
        raise ShapeError(f"targets of shape {tuple(targets.shape)} for h of shape {h.shape}; W must be frozen")
    V, x = len(W), h.data
    t, weight = _targets(targets, ignore_index, V, x)
    xp = array_module(x)
    losses = xp.empty(len(t), dtype=x.dtype)
    dh = xp.empty(x.shape, dtype=x.dtype) if h.requires_grad and is_recording() else None
    logits = xp.empty((min(ROWS, len(t)), V), dtype=x.dtype)  # the same memory for every block
    for start in range(0, len(t), ROWS):
        rows = slice(start, start + ROWS)
        z = logits[: len(x[rows])]
        xp.matmul(x[rows], W.data.T, out=z)
        total, losses[rows] = _exponentials_(z, t[rows])
        if dh is not None:
            xp.matmul(z, W.data, out=dh[rows])
            dh[rows] *= (weight[rows] / total)[:, None]
            dh[rows] -= weight[rows][:, None] * W.data[t[rows]]
    return record(_mean(losses, weight), (h,), lambda g: (dh * g,))


def _targets(targets, ignore_index, V, beside):  # -> t (N,) int64, weight (N,): 1/n where a target counts, else 0
    t = targets.reshape(-1)
    valid = t != ignore_index
    t = check_ids(array_module(t).where(valid, t, 0), V, "target")
    if isinstance(t, np.ndarray):
        t, valid = like(t, beside), like(valid, beside)
    weight = valid.astype(beside.dtype)
    weight /= array_module(beside).maximum(weight.sum(), 1)
    return t, weight


def _exponentials_(z, t):  # (N, V), (N,) -> Σ e^(z - max z) (N,), the losses (N,); z becomes e^(z - max z)
    xp = array_module(z)
    if z.size:
        z -= z.max(axis=-1, keepdims=True)
    picked = z[xp.arange(len(t)), t]
    xp.exp(z, out=z)
    total = z.sum(axis=-1)
    return total, xp.log(total) - picked


def _mean(losses, weight):  # nan when no target counts
    xp = array_module(losses)
    return xp.where(weight.sum() > 0, (losses * weight).sum(), xp.asarray(np.nan, dtype=losses.dtype))
