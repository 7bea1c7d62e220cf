"""Small parameters and gradients of widely different sizes, for the tests of optimizers."""

import numpy as np

from minilora.nn import Parameter

SHAPES = [(5, 3), (7,), (2, 3, 4)]


def parameters(dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return [Parameter(shape, data=rng.standard_normal(shape).astype(dtype)) for shape in SHAPES]


def gradients(step, dtype=np.float64):
    rng = np.random.default_rng([1, step])
    scale = 10.0 ** rng.uniform(-6, 2)
    return [(scale * rng.standard_normal(shape)).astype(dtype) for shape in SHAPES]
