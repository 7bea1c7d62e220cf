"""Cross-entropy on a GPU; the equations are in ops/loss.py.

N positions   V vocabulary   d width of the model   t (N,) the targets, 0 where there is none
weight (N,)   1/n for each of the n targets that count, 0 for the others   some: whether there is one that counts

t and weight are on the host where the targets were: the device then waits for nothing and computes none of it.
"""

import numpy as np

from ..autograd import Tensor, is_recording, record
from ..backend import array_module, like, scatter_add
from .fused import kernels

LOGITS = 2**26  # numbers of logits in memory at a time: 256 MiB; a smaller block is more launches


def cross_entropy_on_device(logits, t, weight, some) -> Tensor:
    """The same on a GPU: dz is softmax(z) · weight · g, less weight · g at the targets."""
    V, xp = logits.shape[-1], array_module(logits.data)
    z, fused = logits.data.reshape(-1, V), kernels(xp)
    places, weight = like(_places(t, V, len(t)), z), like(weight, z)
    E, loss = xp.empty(z.shape, dtype=z.dtype), xp.empty(len(t), dtype=z.dtype)
    total = _exponentials(z, places, E, loss)

    def backward(g):
        dz = fused.probabilities(E, weight[:, None], total[:, None], g)
        scatter_add(dz.reshape(-1), places, weight * -g)
        return (dz.reshape(logits.shape),)

    return record(_sum(loss, weight, some), (logits,), backward)


def linear_cross_entropy_on_device(h, W, t, weight, some) -> Tensor:  # (N, d), (V, d)
    """The same on a GPU, with more rows at a time."""
    V, x, xp = len(W), h.data, array_module(h.data)
    rows_at_once, fused = max(1, min(LOGITS // V, len(t))), kernels(xp)
    both = like(array_module(t).stack([t, _places(t, V, rows_at_once)]), x)  # one upload
    t, places = both[0], both[1]
    weight, loss = like(weight, x), xp.empty(len(t), dtype=x.dtype)
    dh = xp.empty(x.shape, dtype=x.dtype) if h.requires_grad and is_recording() else None
    logits = xp.empty((rows_at_once, V), dtype=x.dtype)  # every block uses this memory
    for start in range(0, len(t), rows_at_once):
        rows = slice(start, start + rows_at_once)
        z = logits[: len(x[rows])]
        xp.matmul(x[rows], W.data.T, out=z)
        total = _exponentials(z, places[rows], z, loss[rows])
        if dh is not None:
            xp.matmul(z, W.data, out=dh[rows])
            fused.loss_gradient(dh[rows], W.data[t[rows]], weight[rows][:, None], total[:, None])
    return record(_sum(loss, weight, some), (h,), lambda g: (dh * g,))


def _places(t, V, rows_at_once):  # (N,) -> (N,), where the targets are in the flattened logits of their block
    return array_module(t).arange(len(t), dtype=np.int64) % rows_at_once * V + t


def _exponentials(z, places, E, loss):  # (N, V), (N,) -> Σ e^(z - max z) (N,); E and loss are written
    fused = kernels(array_module(z))
    largest, picked = z.max(axis=-1), z.reshape(-1)[places]
    fused.exponentials(z, largest[:, None], E)
    total = E.sum(axis=-1)
    fused.losses(total, picked, largest, loss)
    return total


def _sum(loss, weight, some):  # (N,), (N,) -> (); nan when no target counts
    xp = array_module(loss)
    mean = kernels(xp).sum_2(loss, weight)
    if isinstance(some, bool):
        return mean if some else mean + np.nan
    return xp.where(some, mean, xp.full_like(mean, np.nan))
