"""Exercises of lesson 9: which matrices, what rank.

In a terminal:

    minilora check 9                 check your functions
    minilora hint 9.1 --level 1      a nudge; level 2: a sketch; level 3: almost the answer
"""

import numpy as np

# ---- 9.1 · medium, 10 minutes · the rank that a budget allows


def rank_for_budget(shapes, budget):
    """The largest rank at which LoRA on all these matrices together has at most `budget` parameters.

    shapes: list of (out, in), all with the same rank; budget: a whole number. Returns a whole number, 0 when even
    rank 1 is too much.
    """
    raise NotImplementedError


# ---- 9.2 · easy, 5 minutes · how far apart are the seeds?


def mean_and_spread(scores):
    """The mean of the scores of several seeds, and how far apart the seeds are.

    scores: list of at least two numbers. Returns (mean, spread): spread is the sample standard deviation, the root of
    the sum of squared distances from the mean divided by n - 1.
    """
    raise NotImplementedError
