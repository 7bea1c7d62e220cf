"""int8: a weight in 8 bits, each row (an output) with its own scale (Dettmers et al. 2022, LLM.int8, arXiv 2208.07339).

    scale_i = max_j |W_ij|        code_ij = round(W_ij · 127 / scale_i)        W_ij' = code_ij · scale_i / 127

bitsandbytes rounds the weight to float16 first, so numbers beyond 65,504 are refused. A row of zeros has scale 0. In a
product x stays as it is. LLM.int8 rounds x to 8 bits too when it does not train, which changes the output.
"""

import numpy as np

from ..backend import array_module, fused
from ..rounding import round_to
from .kernels import eight_bits
from .stored import Stored, blocks_of_rows, check_finite, operand_type

TO_ONE = np.float32(7.874015718698502e-3)  # 1 / 127 in the digits of bitsandbytes


def quantize(W):  # (rows, in) float32 -> (rows, in) int8, scale (rows,) float32
    """Codes and the scale of each row. Raises FormatError for a number that is not finite, or beyond 65,504."""
    xp = array_module(W)
    W = round_to(W, "float16")
    scale = abs(W).max(axis=1) if W.shape[1] else xp.zeros(len(W), np.float32)
    check_finite(scale, "int8")
    factor = 1 / xp.where(scale > 0, scale, np.float32(1)) * 127  # in this order, as PyTorch divides a number
    return xp.rint(W * factor[:, None]).astype(np.int8), scale


class Int8(Stored):
    """A weight (out, in) in int8: codes (out, in) int8, scale (out,) float32."""

    arrays = ("codes", "scale")

    def __init__(self, codes, scale):
        self.shape, self.codes, self.scale = tuple(codes.shape), codes, scale

    @classmethod
    def of(cls, W, rounded="float32") -> "Int8":  # (out, in)
        """The array W, quantized a block of rows at a time. Raises FormatError as `quantize`.

        rounded: what the numbers are rounded to before, "bfloat16" or "float16" for a model in 16 bits.
        """
        xp = array_module(W)
        codes, scale = xp.empty(W.shape, np.int8), xp.empty(len(W), np.float32)
        for rows in blocks_of_rows(W.shape):
            codes[rows], scale[rows] = quantize(round_to(xp.ascontiguousarray(W[rows], dtype=np.float32), rounded))
        return cls(codes, scale)

    def again(self, W) -> "Int8":  # (out, in)
        """Another weight in the same format."""
        return Int8.of(W)

    def rows(self, start, stop, kind="float32"):
        codes, scale, xp = self.codes[start:stop], self.scale[start:stop, None], array_module(self.codes)
        if xp is not np:
            W = fused(xp, eight_bits, TO_ONE, operand_type(codes, kind))(codes, scale)
            return W if W.dtype == np.float16 else round_to(W, kind)
        W = codes.astype(np.float32)
        W *= scale
        W *= TO_ONE
        return round_to(W, kind)
