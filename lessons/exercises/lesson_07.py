"""Exercises of lesson 7: the scale.

In a terminal:

    minilora check 7                 check your functions
    minilora hint 7.1 --level 1      a nudge; level 2: a sketch; level 3: almost the answer
"""

import numpy as np

# ---- 7.1 · easy, 5 minutes · the scale, both ways


def scaling(alpha, r, rank_stabilised):
    """The scale s: LoRA divides alpha by the rank, rsLoRA (rank_stabilised is True) by the square root of the rank."""
    raise NotImplementedError


# ---- 7.2 · medium, 10 minutes · another rank, the same scale


def alpha_for_rank(alpha, r, new_r, rank_stabilised):
    """The alpha that gives an adapter of rank new_r the scale that `alpha` gives to one of rank r."""
    raise NotImplementedError
