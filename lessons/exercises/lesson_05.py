"""Exercises of lesson 5: is the update low rank?

In a terminal:

    minilora check 5                 check your functions
    minilora hint 5.1 --level 1      a nudge; level 2: a sketch; level 3: almost the answer
"""

import numpy as np

# ---- 5.1 · medium, 15 minutes · the best part of rank r


def best_part(D, r):
    """The matrix of rank r (at most) that comes closest to D: the sum of squares of the difference is smallest.

    D: (out, in); r: a whole number, at least 1. Returns an array of the shape of D.
    """
    raise NotImplementedError


# ---- 5.2 · easy, 10 minutes · how many directions hold the energy


def directions_for(singular_values, share):
    """The smallest k for which the first k directions hold at least that share of the energy Σ σ².

    singular_values: array, the largest first; share: a number between 0 and 1, such as 0.9. Returns a whole number.
    """
    raise NotImplementedError
