"""Reading codes on a GPU: each function below is one expression, which `cupy.fuse` makes into one kernel.

Such a kernel reads the codes and the scales, and writes the numbers. Step by step, as int8.py and nf4.py do it on a
CPU, every step would read and write the whole weight in float32. The numbers are the same to the bit.
"""

from collections.abc import Callable
from typing import Any

import numpy as np


def four_bits(xp: Any, values: tuple) -> Callable:
    """values: the 16 numbers of the codes."""
    numbers = [np.float32(v) for v in values]

    def read_four_bits(packed, absmax, high, low):  # (m, size / 2) uint8, (m, 1) -> twice (m, size / 2), written into
        # a thread for each byte: one for each number would find its place in the arrays twice as often
        high[...] = chosen(xp, numbers, [(packed & bit) > 0 for bit in (128, 64, 32, 16)]) * absmax
        low[...] = chosen(xp, numbers, [(packed & bit) > 0 for bit in (8, 4, 2, 1)]) * absmax

    return read_four_bits


def chosen(xp: Any, values, bits):  # 2^k numbers, k arrays of bool -> an array
    """values[the number with these bits], by k choices between two: a fused kernel has no tables."""
    half = len(values) // 2
    if not half:
        return values[0]
    return xp.where(bits[0], chosen(xp, values[half:], bits[1:]), chosen(xp, values[:half], bits[1:]))


def eight_bits(xp: Any, step, dtype) -> Callable:
    """step: by which a code times its scale is multiplied. dtype: of the result, which is rounded to it."""

    def read_eight_bits(codes, scale):  # (rows, in) int8, (rows, 1) -> (rows, in)
        return (codes * scale * np.float32(step)).astype(dtype)

    return read_eight_bits
