"""Exercises of lesson 16: AdaLoRA.

In a terminal:

    minilora check 16                check your functions
    minilora hint 16.1 --level 1     a nudge; level 2: a sketch; level 3: almost the answer

The notation: p is an array of trained numbers, g its gradient.
"""

import numpy as np

# ---- 16.1 · medium, 15 minutes · how much a number matters


def smooth_importance(p, g, importance, uncertainty, beta1, beta2):
    """Follow, from step to step, how much each number of p matters.

    The importance of a number, now, is the size of p · g. It jumps from batch to batch, so it is
    smoothed: a share beta1 of the old importance stays, the rest is the one of now. Its uncertainty
    is smoothed the same way, with beta2: what is new is the distance of the importance of now from
    the smoothed importance, the new one.

    p, g, importance, uncertainty: arrays of one shape; beta1, beta2: numbers from 0 to 1.
    Returns (importance, uncertainty), both new.
    """
    raise NotImplementedError


# ---- 16.2 · medium, 15 minutes · who may stay


def keep(scores, budget):
    """Which triplets stay when only `budget` of them may, in the whole model.

    scores: (layers, r), the score of each triplet. Those with the highest scores stay, wherever
    they are: a layer may keep all or none. Where equal scores would exceed the budget, all of these
    equal ones fall: there are never more than `budget`.

    Returns an array of True and False, (layers, r).
    """
    raise NotImplementedError
