"""The keys and values of many sequences at once, each of its own length: a server's sequences come and go."""

import numpy as np

from ..autograd import Tensor
from ..backend import array_module


class RowCache:
    """A row for each sequence: keys and values of its tokens, from the front of a buffer (rows, places, K, hd) a layer.

    rows, places  how many sequences, and how many tokens of each; a buffer takes memory as it is written
    lengths       (rows,) int64, tokens of each row so far

    `of(first, last, T)` is what one forward over T new tokens of these rows takes as its cache; `advance` follows it.
    """

    def __init__(self, rows, places):
        self.lengths = np.zeros(rows, dtype=np.int64)
        self.places = places
        self.buffers = {}  # layer -> (keys, values)

    def of(self, first, last):
        """A cache for a forward over rows first ... last - 1, which reads and writes these buffers."""
        return _Rows(self, first, last)

    def advance(self, first, last, tokens):
        """`tokens` more of these rows are in the buffers."""
        self.lengths[first:last] += tokens

    def move(self, source, target):
        """Row `target` becomes what row `source` is."""
        n = self.lengths[target] = self.lengths[source]
        for pair in self.buffers.values():
            for buffer in pair:
                buffer[target, :n] = buffer[source, :n]

    def swap(self, one, other):
        """Two rows change places."""
        if one == other:
            return
        n = int(self.lengths[[one, other]].max())
        for pair in self.buffers.values():
            for buffer in pair:
                buffer[[one, other], :n] = buffer[[other, one], :n]
        self.lengths[[one, other]] = self.lengths[[other, one]]

    def clear(self, row):
        """Row `row` holds nothing."""
        self.lengths[row] = 0


class _Rows:
    """What the model knows as its cache, see `KVCache`. Rows shorter than the longest are hidden by the mask."""

    def __init__(self, whole, first, last):
        self.whole, self.rows = whole, slice(first, last)
        self.starts = whole.lengths[first:last].copy()  # (B,)
        self.length = int(self.starts.max())

    def extend(self, layer, k, v):  # (B, T, K, hd) twice -> (B, S, K, hd) twice
        """Write what layer `layer` just computed behind each row; returns all keys and values so far."""
        if layer not in self.whole.buffers:
            xp, size = array_module(k.data), (len(self.whole.lengths), self.whole.places, *k.shape[2:])
            self.whole.buffers[layer] = xp.zeros(size, dtype=k.dtype), xp.zeros(size, dtype=v.dtype)
        return tuple(
            self._written(b[self.rows], new.data) for b, new in zip(self.whole.buffers[layer], (k, v), strict=True)
        )

    def _written(self, buffer, new):  # (B, places, K, hd), (B, T, K, hd) -> (B, S, K, hd)
        T = new.shape[1]
        if (self.starts == self.length).all():
            buffer[:, self.length : self.length + T] = new
        else:
            xp = array_module(buffer)
            places = xp.asarray(self.starts)[:, None] + xp.arange(T, dtype=np.int64)
            buffer[xp.arange(len(new), dtype=np.int64)[:, None], places] = new
        return Tensor(buffer[:, : self.length + T])

    def mask(self, T):  # -> (B, S) bool host array or None
        """Which keys a query of each row sees, of the S that `extend` returns. For T = 1, or rows of one length."""
        if (self.starts == self.length).all():
            return None
        return np.arange(self.length + T, dtype=np.int64) < (self.starts + T)[:, None]
