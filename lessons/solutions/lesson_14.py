"""Solutions of lesson 14."""

import numpy as np


def unscale(g, scale, good, interval):
    if not np.isfinite(g).all():
        return False, np.zeros_like(g), scale / 2, 0
    true = g / scale
    if good + 1 == interval:
        return True, true, scale * 2, 0
    return True, true, scale, good + 1


def chunked_loss(h, W, targets, size):
    total, dh = 0.0, np.empty_like(h)
    for start in range(0, len(h), size):
        rows = slice(start, start + size)
        z = h[rows] @ W.T  # (size, V)
        z -= z.max(axis=1, keepdims=True)
        at = np.arange(len(z)), targets[rows]
        p = np.exp(z)
        sums = p.sum(axis=1, keepdims=True)
        total += (np.log(sums[:, 0]) - z[at]).sum()
        p /= sums
        p[at] -= 1
        dh[rows] = p @ W / len(h)
    return total / len(h), dh
