"""Exercises of lesson 15: DoRA.

In a terminal:

    minilora check 15                check your functions
    minilora hint 15.1 --level 1     a nudge; level 2: a sketch; level 3: almost the answer

The notation: W (out, in) frozen, A (r, in), B (out, r), scale s = alpha / r, V = W + s B A, and the
magnitude m (out,), one number for each row of V.
"""

import numpy as np

# ---- 15.1 · medium, 10 minutes · the forward of DoRA


def dora_forward(x, W, A, B, m, alpha, r):
    """The output of the layer: each row of V = W + (alpha / r) B A gets the length m.

    x: (N, in), W: (out, in), A: (r, in), B: (out, r), m: (out,); alpha, r: numbers.
    Returns y: (N, out).
    """
    raise NotImplementedError


# ---- 15.2 · medium, 10 minutes · the gradient of the magnitude


def magnitude_gradient(x, g, W, A, B, m, alpha, r):
    """dm, given g = dL/dy for the y of exercise 15.1: which lengths should grow?

    x: (N, in), g: (N, out), W: (out, in), A: (r, in), B: (out, r), m: (out,); alpha, r: numbers.
    Returns dm: (out,).
    """
    raise NotImplementedError


# ---- 15.3 · easy, 5 minutes · merge DoRA


def dora_merge(W, A, B, m, alpha, r):
    """One matrix that does the work of W, A, B and m: its layer gives the y of exercise 15.1.

    W: (out, in), A: (r, in), B: (out, r), m: (out,); alpha, r: numbers. Returns (out, in).
    """
    raise NotImplementedError
