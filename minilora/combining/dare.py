"""DARE: drop numbers at random, and rescale what is left (Yu et al. 2024, arXiv 2311.03099).

    δ̃ = m ⊙ δ / density        m = 1 with probability `density`, 0 otherwise        E[δ̃] = δ

With density 0 everything is dropped, and the result is 0 (PEFT 0.21 divides 0 by 0 there).
"""

import numpy as np

from .ties import elected_mean
from .weighted import task_arithmetic


def drop(tensor, density: float, generator: np.random.Generator):  # -> array
    """δ̃: each number is kept with probability `density`, and divided by it."""
    if density >= 1:
        return tensor
    if density <= 0:
        return np.zeros_like(tensor)
    return np.where(generator.random(tensor.shape) < density, tensor / tensor.dtype.type(density), 0)


def dare_linear(tensors: list, weights: list[float], density: float, generator: np.random.Generator):  # -> array
    """Σ w δ̃"""
    return task_arithmetic([drop(t, density, generator) for t in tensors], weights)


def dare_ties(
    tensors: list, weights: list[float], density: float, generator: np.random.Generator, method: str = "total"
):  # -> array
    """The mean of the w δ̃ whose δ̃ has the elected sign: TIES with a random choice in the place of the largest."""
    return elected_mean([drop(t, density, generator) for t in tensors], weights, method)
