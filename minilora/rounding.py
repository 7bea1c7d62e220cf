"""Numbers of 16 bits in place of 32, and back.

                sign  exponent  fraction    digits  smallest   largest   the next number after 1
    float32     1     8         23          7       1.4e-45    3.4e38    1 + 1.2e-7
    float16     1     5         10          3       6.0e-8     65,504    1 + 0.00098
    bfloat16    1     8         7           2       9.2e-41    3.4e38    1 + 0.0078

NumPy has no bfloat16: here its 16 bits are a uint16, the upper half of a float32, so that nothing else is needed.
"""

import numpy as np

from .backend import array_module, fused


def narrow(x, kind: str):  # float32 -> uint16 (bfloat16) or float16, of the same shape
    """x rounded to the nearest number of 16 bits, a tie to the even one. Beyond float16's range it is inf."""
    if kind == "float16":
        with np.errstate(over="ignore"):
            return x.astype(np.float16)
    xp = array_module(x)
    bits = xp.ascontiguousarray(x).view(np.uint32)
    bits = bits + (np.uint32(0x7FFF) + ((bits >> 16) & 1))
    return xp.where(xp.isnan(x), np.uint16(0x7FC0), (bits >> 16).astype(np.uint16))  # the carry could make inf of a nan


def widen(x):  # uint16 (bfloat16) or float16 -> float32
    """The same numbers in float32, which is exact."""
    return x.astype(np.float32) if x.dtype == np.float16 else (x.astype(np.uint32) << 16).view(np.float32)


def round_to(x, kind: str):  # float32 -> float32
    """x rounded to the numbers that `kind` has; x itself for "float32"."""
    if kind == "float32":
        return x
    xp = array_module(x)
    if xp is np:
        return widen(narrow(x, kind))
    if kind == "float16":
        with np.errstate(over="ignore"):  # where a test's stand-in is the GPU
            return fused(xp, _by_float16)(x)
    return fused(xp, _bits_by_bfloat16)(x.view(np.uint32)).view(np.float32)


# ---- the same on a GPU, in one kernel


def _by_float16(xp):
    def round_to_float16(x):
        return x.astype(np.float16).astype(np.float32)

    return round_to_float16


def _bits_by_bfloat16(xp):  # as in `narrow`
    def round_to_bfloat16(bits):  # uint32 -> uint32
        carried = bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))
        is_nan = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
        return xp.where(is_nan, np.uint32(0x7FC00000), carried & np.uint32(0xFFFF0000))

    return round_to_bfloat16
