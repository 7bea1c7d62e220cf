"""NF4: a weight in 4 bits (Dettmers et al. 2023, QLoRA, arXiv 2305.14314, section 3), as bitsandbytes stores it.

    in blocks of 64 numbers:   absmax_b = max |w|      code = nearest of 16 values to w / absmax_b      4 bits a number
    read again:                w' = value[code] · absmax_b

Weights are roughly normal, so the 16 values are quantiles of a normal distribution, with a zero: 7 negative values, 0,
and 8 positive ones. (Equation 4 of the paper, taken literally, asks for the quantile of 0, which is -inf; these are the
values of its code.) FP4 has a sign, two bits of exponent and one of fraction; INT4 is evenly spaced, for comparison.

The numbers are taken row by row. Two codes are one byte, the first in the high half. Reading looks a byte up in a table
that gives both numbers at once.
"""

import math
from functools import cache

import numpy as np

from ..backend import array_module, fused, like
from ..errors import ConfigError
from ..rounding import round_to
from .blockwise import midpoints, normalize, scale
from .double_quantization import SIZE, dequantize_absmax, quantize_absmax
from .kernels import four_bits
from .stored import Stored, blocks_of_rows, check_finite, operand, operand_type, table

SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096)  # numbers of a block
NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
FP4 = (0, 0.0625, 8, 12, 4, 6, 2, 3, 0, -0.0625, -8, -12, -4, -6, -2, -3)  # by their bits, over 12
INT4 = (0, 1, 2, 3, 4, 5, 6, 7, 0, -1, -2, -3, -4, -5, -6, -7)  # by their bits (sign and size), over 7
VALUES = {
    name: np.array(v, np.float32) / np.float32(max(v)) for name, v in (("nf4", NF4), ("fp4", FP4), ("int4", INT4))
}


@cache
def _search_tables(kind):  # -> (15,) midpoints of the sorted values, (16,) the code of each
    order = np.argsort(VALUES[kind], kind="stable").astype(np.uint8)
    return midpoints(VALUES[kind][order]), order


@cache
def _pairs(kind):  # -> (256,) of 8 bytes each
    """For every byte the two float32 numbers of its codes, seen as one number of 64 bits."""
    high, low = np.divmod(np.arange(256), 16)
    return np.stack([VALUES[kind][high], VALUES[kind][low]], axis=1).view(np.float64)[:, 0]


def quantize(x, kind: str = "nf4", size: int = 64):  # (n,) float32 -> packed (ceil(n / 2),) uint8, absmax (m,) float32
    """Codes, two in a byte, and the absmax of each of the m = ceil(n / size) blocks. Raises FormatError: not finite."""
    xp = array_module(x)
    with np.errstate(invalid="ignore"):  # inf · 0, which is refused below
        v, absmax = normalize(x, size)
    check_finite(absmax, "4 bits")
    limits, order = _search_tables(kind)
    rank = xp.zeros(len(x) + len(x) % 2, np.uint8)  # how many limits are below v: the place among the sorted values
    for limit in limits:
        rank[: len(x)] += v > limit
    if len(x) % 2:
        rank[-1] = (limits < 0).sum()  # of the 0 that fills the last byte
    code = rank if kind == "nf4" else like(order, rank)[rank]
    return (code[::2] << 4) | code[1::2], absmax


def dequantize(packed, absmax, n: int, kind: str = "nf4", size: int = 64, dtype: type = np.float32):
    """packed (ceil(n / 2),), absmax (m,) -> the n numbers, (n,). dtype: on a GPU also np.float16."""
    xp = array_module(packed)
    if xp is not np and n % size == 0:
        x = xp.empty(n, dtype)
        pairs = x.reshape(-1, size // 2, 2)
        read = fused(xp, four_bits, tuple(VALUES[kind].tolist()))
        read(packed.reshape(-1, size // 2), absmax[:, None], pairs[:, :, 0], pairs[:, :, 1])
        return x
    pairs = xp.empty(len(packed), np.float64)
    options = {"mode": "clip"} if xp is np else {}  # NumPy's default, "raise", would copy all of `pairs`
    xp.take(table(_pairs, kind, beside=packed), packed, out=pairs, **options)
    x = pairs.view(np.float32)[:n]
    scale(x, absmax, size)
    return x.astype(dtype, copy=False)


class FourBit(Stored):
    """A weight (out, in) in NF4, FP4 or INT4.

    packed   (ceil(out · in / 2),) uint8
    absmax   (m,) float32, or uint8 with double quantization; then absmax2 and offset too
    kind     "nf4", "fp4" or "int4"
    size     numbers of a block
    rounded  "float32", "bfloat16" or "float16": what the numbers that are read are rounded to
    """

    def __init__(self, shape, packed, absmax, absmax2=None, offset=None, kind="nf4", size=64, rounded="float32"):
        self.shape, self.kind, self.size, self.rounded = tuple(shape), kind, size, rounded
        self.packed, self.absmax, self.absmax2, self.offset = packed, absmax, absmax2, offset
        self.arrays = ("packed", "absmax") if absmax2 is None else ("packed", "absmax", "absmax2", "offset")
        self.step = _whole_blocks(self.shape, size)

    @classmethod
    def of(cls, W, kind="nf4", size=64, double=False, rounded="float32") -> "FourBit":  # (out, in)
        """The array W, quantized a block of rows at a time.

        double: double quantization. Raises FormatError for a number that is not finite, ConfigError for another size.
        """
        if size not in SIZES:
            raise ConfigError(f"block size {size}: expected one of {', '.join(map(str, SIZES))}")
        xp, n = array_module(W), math.prod(W.shape)
        packed, absmax = xp.empty(-(-n // 2), np.uint8), xp.empty(-(-n // size), np.float32)
        for rows in blocks_of_rows(W.shape, _whole_blocks(W.shape, size)):
            at = rows.start * W.shape[1]
            x = round_to(xp.ascontiguousarray(W[rows], dtype=np.float32), rounded).reshape(-1)
            codes, largest = quantize(x, kind, size)
            packed[at // 2 : at // 2 + len(codes)], absmax[at // size : at // size + len(largest)] = codes, largest
        nested = quantize_absmax(absmax) if double else (absmax,)
        return cls(W.shape, packed, *nested, kind=kind, size=size, rounded=rounded)

    def again(self, W) -> "FourBit":  # (out, in)
        """Another weight in the same format."""
        return FourBit.of(W, self.kind, self.size, self.absmax2 is not None, self.rounded)

    def rows(self, start, stop, kind="float32"):
        width = self.shape[1]
        first, n = start * width, (stop - start) * width
        packed = self.packed[first // 2 : -(-(first + n) // 2)]
        absmax = self._absmax(first // self.size, -(-(first + n) // self.size))
        dtype = np.float32 if self.rounded == "bfloat16" else operand_type(packed, kind)
        x = dequantize(packed, absmax, n, self.kind, self.size, dtype)
        if dtype == np.float32:
            x = operand(round_to(x, self.rounded), kind)
        return x.reshape(stop - start, width)

    def _absmax(self, start, stop):  # -> (stop - start,) float32
        if self.absmax2 is None:
            return self.absmax[start:stop]
        first = start // SIZE * SIZE  # where a block of absmaxes begins
        scales = self.absmax2[start // SIZE : -(-stop // SIZE)]
        return dequantize_absmax(self.absmax[first:stop], scales, self.offset)[start - first :]


def _whole_blocks(shape, size):  # -> int
    """The fewest rows that end where a block ends, so that no block belongs to two parts of the weight."""
    return size // math.gcd(size, shape[1]) if shape[1] else 1
