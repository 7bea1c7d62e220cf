"""Double quantization: the absmax of every block, in 8 bits instead of 32 (QLoRA, arXiv 2305.14314, section 3).

    offset = mean(absmax)        a = absmax - offset        in blocks of 256:  absmax' = map[code8] · max|a| + offset

    bits of a weight:  4 + 32 / 64 = 4.5 without it,        4 + 8 / 64 + 32 / (64 · 256) = 4.127 with it

The paper says FP8. bitsandbytes uses the `dynamic` map of 256 values (Dettmers 2016, arXiv 1511.04561): a sign, an
exponent of ten whose zeros count it, and the rest of the bits for the fraction.

The nearest value of the map is searched exactly here, as bitsandbytes does on a GPU. On a CPU it searches a table of
65,536 places, which misses the nearest value for 0.1% of evenly spread numbers (1,883 of 2,000,001): it then takes the
neighbour. The mean is a float32 sum, whose last bit depends on the order.
"""

from functools import cache

import numpy as np

from ..backend import array_module, like
from .blockwise import midpoints, normalize, scale
from .stored import table

SIZE = 256  # absmaxes of a block


@cache
def dynamic_map():  # -> (256,) float32, sorted
    """-0.993 ... 0 ... 0.993 and 1: for i = 0..6 the 2^i means of neighbours in 0.1..1, times 10^(i - 6)."""
    values = [0.0, 1.0]
    for i in range(7):
        edges = _linspace(2**i)
        means = (edges[:-1] + edges[1:]) / np.float32(2)
        positive = np.float32(10.0 ** (i - 6)) * means
        values += [*positive, *-positive]
    return np.sort(np.array(values, np.float32))


def _linspace(n):  # -> (n + 1,) float32 from 0.1 to 1
    """As torch.linspace: from both ends, and each point rounded once (float64 holds the product exactly)."""
    start, end = np.float32(0.1), np.float32(1)
    step = np.float64((end - start) / np.float32(n))
    k = np.arange(n + 1)
    return np.where(k < (n + 1) // 2, start + step * k, end - step * (n - k)).astype(np.float32)


def quantize_absmax(absmax):  # (m,) float32 -> code8 (m,) uint8, absmax2 (ceil(m / 256),) float32, offset () float32
    """The absmaxes in 8 bits."""
    xp = array_module(absmax)
    offset = absmax.mean(dtype=absmax.dtype)
    v, absmax2 = normalize(absmax - offset, SIZE)
    code8 = xp.searchsorted(like(midpoints(dynamic_map()), absmax), v, side="left").astype(np.uint8)
    return code8, absmax2, xp.asarray(offset)


def dequantize_absmax(code8, absmax2, offset):  # (m,), (ceil(m / 256),), () -> (m,) float32
    """The absmaxes."""
    absmax = table(dynamic_map, beside=code8)[code8]
    scale(absmax, absmax2, SIZE)
    absmax += offset  # not in one kernel with the product: its compiler makes a fused multiply-add, which rounds once
    return absmax
