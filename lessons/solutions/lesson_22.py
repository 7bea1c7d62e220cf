"""Solutions of lesson 22."""

import numpy as np


def mixed_update(x, slots, A, B, s):
    y = np.zeros((len(x), B.shape[1]), x.dtype)
    for a in set(slots) - {-1}:
        rows = np.flatnonzero(np.asarray(slots) == a)
        y[rows] = s[a] * (x[rows] @ A[a].T) @ B[a].T
    return y


def loads(requests, slots):
    here, count = [], 0  # the least recently used is first
    for name in requests:
        count += name not in here
        here = [*(other for other in here if other != name), name][-slots:]
    return count
