"""Exercises of lesson 2: reverse mode for arrays.

In a terminal:

    minilora check 2                 check your functions
    minilora hint 2.1 --level 1      a nudge; level 2: a sketch; level 3: almost the answer
"""

import numpy as np

# ---- 2.1 · medium, 15 minutes · undo broadcasting


def unbroadcast(g, shape):
    """The gradient of an array of `shape` that NumPy broadcast to the shape of `g` before it was used.

    g: array, the incoming gradient; shape: tuple, the shape that the result must have. Returns an array of `shape`.
    Broadcasting repeats: it puts new axes in front, and stretches axes of size 1.
    """
    raise NotImplementedError


# ---- 2.2 · medium, 10 minutes · the two gradients of a product


def matmul_backward(A, B, G):
    """dA and dB for Y = A B, given G = dL/dY.

    A: (m, k), B: (k, n), G: (m, n). Returns (dA, dB), shaped as A and B.
    """
    raise NotImplementedError


# ---- 2.3 · hard, 20 minutes · the backward of softmax


def softmax_backward(p, g):
    """dx for p = softmax(x) along the last axis, given g = dL/dp. The result p is all you need; x is not given.

    p, g: (rows, n); every row of p adds up to 1. Returns an array of that shape.
    """
    raise NotImplementedError
