"""Cross-entropy: the softmax and the logarithm in one, so that the probabilities are kept once."""

import numpy as np

from ..autograd import as_tensor, record
from ..backend import array_module, like
from ..errors import ShapeError
from .linear import check_ids


def cross_entropy(logits, targets, ignore_index=-100):  # (..., V), (...) int -> ()
    """L = mean over the targets t that are not `ignore_index` of   log Σ e^z - z_t

    dz = (softmax(z) - onehot(t)) / n        nan when every target is ignored, as in PyTorch
    """
    logits = as_tensor(logits)
    V = logits.shape[-1]
    if tuple(targets.shape) != logits.shape[:-1]:
        raise ShapeError(f"targets of shape {tuple(targets.shape)} for logits of shape {logits.shape}")
    t = targets.reshape(-1)
    valid = t != ignore_index
    t = check_ids(array_module(t).where(valid, t, 0), V, "target")
    if isinstance(t, np.ndarray):
        t, valid = like(t, logits.data), like(valid, logits.data)

    p = logits.data.reshape(-1, V)
    xp = array_module(p)
    rows = xp.arange(len(t))
    p = p - p.max(axis=-1, keepdims=True) if p.size else p.copy()  # (N, V) shifted logits
    picked = p[rows, t]  # (N,)
    xp.exp(p, out=p)
    total = p.sum(axis=-1)  # (N,)
    weight = valid.astype(p.dtype)
    count = weight.sum()
    weight /= xp.maximum(count, 1)  # 1/n where a target counts, 0 where it is ignored
    loss = ((xp.log(total) - picked) * weight).sum()
    loss = xp.where(count > 0, loss, xp.asarray(np.nan, dtype=p.dtype))

    def backward(g):
        dz = p * (weight * g / total)[:, None]
        dz[rows, t] -= weight * g
        return (dz.reshape(logits.shape),)

    return record(loss, (logits,), backward)
