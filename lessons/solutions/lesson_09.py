"""Solutions of lesson 9."""

import numpy as np


def rank_for_budget(shapes, budget):
    return budget // sum(out + n_in for out, n_in in shapes)  # what one more rank costs


def mean_and_spread(scores):
    return np.mean(scores), np.std(scores, ddof=1)
