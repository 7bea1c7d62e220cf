"""The angles of positions and the masks of a forward, on the model's device. A GPU keeps them for the next forward."""

import functools

import numpy as np

from .. import ops
from ..backend import array_module, device_of, like


def angles(positions, inv_freq, x):  # (B or 1, T) int64 host array, (hd/2,) -> cos, sin (B or 1, T, 1, hd)
    """`ops.rotary_angles` beside the array x. On a GPU, rows of the same places read a table that is there."""
    if isinstance(x, np.ndarray):
        return ops.rotary_angles(positions, inv_freq, x.dtype)
    T, start = positions.shape[1], int(positions[0, 0]) if positions.size else 0
    if not (positions == np.arange(start, start + T, dtype=np.int64)).all():  # padded, or rows at different places
        return tuple(like(a, x) for a in ops.rotary_angles(positions, inv_freq, x.dtype))
    places = 1 << (start + T - 1).bit_length()  # the next power of 2: a longer text makes a new table now and then
    table = _table(array_module(x), device_of(x), inv_freq.astype(np.float32).tobytes(), x.dtype, places)
    return tuple(a[:, start : start + T] for a in table)


@functools.lru_cache(8)
def _table(xp, device, frequencies, dtype, places):
    positions = np.arange(places, dtype=np.int64)[None]
    host = ops.rotary_angles(positions, np.frombuffer(frequencies, np.float32), dtype)
    return tuple(xp.asarray(a) for a in host)


def causal_bias(T, S, mask, x, window=None):  # -> (B or 1, 1, T, S) or None
    """`ops.causal_bias` beside the array x."""
    if isinstance(x, np.ndarray) or mask is not None:
        bias = ops.causal_bias(T, S, mask, x.dtype, window)
        return None if bias is None else like(bias, x)
    return _bias(array_module(x), device_of(x), T, S, x.dtype, window)


@functools.lru_cache(4)
def _bias(xp, device, T, S, dtype, window):
    bias = ops.causal_bias(T, S, None, dtype, window)
    return None if bias is None else xp.asarray(bias)
