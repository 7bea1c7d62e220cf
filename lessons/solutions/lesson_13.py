"""Solutions of lesson 13."""

import numpy as np


def quantize(w, levels, size):
    codes, absmax = np.empty(len(w), int), []
    for start in range(0, len(w), size):
        block = w[start : start + size]
        largest = np.abs(block).max()
        absmax.append(largest)
        distance = np.abs(block[:, None] / (largest or 1) - levels)  # (numbers, levels)
        codes[start : start + size] = distance.argmin(axis=1)
    return codes, np.array(absmax)


def read_back(codes, absmax, levels, size):
    return levels[codes] * np.repeat(absmax, size)[: len(codes)]


def bits_per_number(size, second):
    if second is None:
        return 4 + 32 / size
    return 4 + 8 / size + 32 / (size * second)
