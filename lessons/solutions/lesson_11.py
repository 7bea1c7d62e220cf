"""Solution of lesson 11."""

import numpy as np


def stack_adapters(A1, B1, s1, A2, B2, s2):
    return np.vstack([A1, A2]), np.hstack([s1 * B1, s2 * B2])  # (r1 + r2, in), (out, r1 + r2)
