"""16 bits: a weight in bfloat16 or float16.

    float32    1 sign, 8 exponent, 23 fraction
    bfloat16   1 sign, 8 exponent,  7 fraction: the upper half of a float32; as wide, and coarser
    float16    1 sign, 5 exponent, 10 fraction: finer, and nothing beyond 65,504

NumPy has no bfloat16: here its 16 bits are a uint16, so that nothing else is needed to read it.
"""

import numpy as np

from ..backend import array_module
from ..rounding import narrow, widen
from .stored import Stored, blocks_of_rows, check_finite, operand

KINDS = ("bfloat16", "float16")


class SixteenBit(Stored):
    """A weight (out, in) in 16 bits: bits (out, in) uint16 (bfloat16) or float16."""

    arrays = ("bits",)

    def __init__(self, bits):
        self.shape, self.bits = tuple(bits.shape), bits

    @property
    def kind(self) -> str:
        return "float16" if self.bits.dtype == np.float16 else "bfloat16"

    @classmethod
    def of(cls, W, kind) -> "SixteenBit":  # (out, in), "bfloat16" or "float16"
        """The array W, rounded a block of rows at a time. Raises FormatError for a number that is not finite then."""
        xp = array_module(W)
        bits = xp.empty(W.shape, np.float16 if kind == "float16" else np.uint16)
        for rows in blocks_of_rows(W.shape):
            bits[rows] = narrow(xp.ascontiguousarray(W[rows], dtype=np.float32), kind)
            check_finite(widen(bits[rows]), kind)
        return cls(bits)

    def rows(self, start, stop, kind="float32"):
        return operand(widen(self.bits[start:stop]), kind)

    def __getitem__(self, index):  # (...) int -> (..., in) float32
        """Rows by their numbers: an embedding in 16 bits."""
        return widen(self.bits[index])
