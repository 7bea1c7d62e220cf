"""Solutions of lesson 19."""

import numpy as np


def linear_update(A1, B1, A2, B2, w1, w2):
    A = np.sign(w1) * abs(w1) ** 0.5 * A1 + np.sign(w2) * abs(w2) ** 0.5 * A2
    B = abs(w1) ** 0.5 * B1 + abs(w2) ** 0.5 * B2
    return B @ A


def ties_update(updates, density):
    trimmed = np.zeros(updates.shape)
    stay = int(density * updates.shape[1])
    for row, kept in zip(updates, trimmed, strict=True):
        places = np.argsort(np.abs(row))[::-1][:stay]
        kept[places] = row[places]
    elected = np.sign(trimmed.sum(axis=0))
    agree = (np.sign(trimmed) == elected) & (trimmed != 0)
    return (trimmed * agree).sum(axis=0) / np.maximum(agree.sum(axis=0), 1)
