"""Solutions of lesson 5."""

import numpy as np


def best_part(D, r):
    U, s, Vh = np.linalg.svd(D, full_matrices=False)  # D = U diag(s) Vh, the largest s first
    return (U[:, :r] * s[:r]) @ Vh[:r]  # Eckart and Young 1936: no other comes closer


def directions_for(singular_values, share):
    energy = np.cumsum(singular_values**2)  # of the first 1, 2, 3, ... directions
    return int(np.argmax(energy >= share * energy[-1])) + 1
