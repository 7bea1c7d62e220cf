"""Solutions of lesson 16."""

import numpy as np


def smooth_importance(p, g, importance, uncertainty, beta1, beta2):
    now = np.abs(p * g)
    importance = beta1 * importance + (1 - beta1) * now
    uncertainty = beta2 * uncertainty + (1 - beta2) * np.abs(now - importance)
    return importance, uncertainty


def keep(scores, budget):
    falls = scores.size - budget  # how many must go
    if falls <= 0:
        return np.ones(scores.shape, bool)
    threshold = np.sort(scores.ravel())[falls - 1]
    return scores > threshold
