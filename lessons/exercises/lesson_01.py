"""Exercises of lesson 1: check a derivative with two evaluations.

Replace each `raise NotImplementedError` by your answer. Then, in a terminal:

    minilora check 1                 check your functions
    minilora hint 1.2 --level 1      a nudge; level 2: a sketch; level 3: almost the answer
"""

import numpy as np

# ---- 1.1 · easy, 5 minutes · the slope from two evaluations


def central_difference(f, x, eps):
    """The slope of `f` at `x`, from one evaluation a little above and one a little below.

    f: function of one number; x: a number; eps: how far above and below. Returns one number.
    """
    raise NotImplementedError


# ---- 1.2 · medium, 10 minutes · a derivative for each element


def numeric_gradient(f, x, eps):
    """The derivatives of `f` at the array `x`, one for each element, by central differences.

    f: function of an array, returns one number; x: float64 array of any shape. Returns an array of the shape of x.
    """
    raise NotImplementedError


# ---- 1.3 · medium, 15 minutes · derive one yourself, then let the differences check it


def silu_backward(x, g):
    """dx for y = x · σ(x), where σ(x) = 1 / (1 + e^-x), given g = dL/dy, the gradient from the layer above.

    x, g: arrays of one shape; everything happens element by element. Returns an array of that shape.
    """
    raise NotImplementedError
