"""The keys and values of many sequences at once, each of its own length: a server's sequences come and go."""

from typing import Any

import numpy as np

from ..autograd import Tensor
from ..backend import array_module, like


class RowCache:
    """A row for each sequence: keys and values of its tokens, from the front of a buffer (rows, places, K, hd) a layer.

    rows, places  how many sequences, and how many tokens of each; a buffer takes memory as it is needed
    lengths       (rows,) int64, tokens of each row so far

    `of(rows)` is what one forward over new tokens of these rows takes as its cache; `advance` follows it. Rows are a
    slice, or an index array: then the model reads a copy.
    """

    def __init__(self, rows, places):
        self.lengths = np.zeros(rows, dtype=np.int64)
        self.places = places
        self.buffers = {}  # layer -> (keys, values)

    def of(self, rows):
        """A cache for a forward over these rows, which reads and writes these buffers."""
        return _Rows(self, rows)

    def advance(self, rows, tokens):
        """`tokens` (a number, or one for each row) more of these rows are in the buffers."""
        self.lengths[rows] += tokens

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
                kept = buffer[one, :n].copy()
                buffer[one, :n] = buffer[other, :n]
                buffer[other, :n] = kept
        self.lengths[[one, other]] = self.lengths[[other, one]]

    def clear(self, row):
        """Row `row` holds nothing."""
        self.lengths[row] = 0

    def with_room(self, layer, new, end):  # two arrays (B, T, K, hd) -> two buffers with places for `end` tokens
        """The buffers of a layer. The system gives a host buffer its memory as it is written.

        A GPU gives all of it at once, which can be more than it has: there a buffer begins small, and is doubled.
        """
        before = self.buffers.get(layer)
        if before is not None and before[0].shape[1] >= end:
            return before
        xp = array_module(new[0])
        places = self.places if xp is np else min(self.places, 1 << (end - 1).bit_length())
        buffers = tuple(xp.zeros((len(self.lengths), places, *x.shape[2:]), dtype=x.dtype) for x in new)
        if before is not None:
            for buffer, old in zip(buffers, before, strict=True):
                buffer[:, : old.shape[1]] = old
        self.buffers[layer] = buffers
        return buffers


class _Rows:
    """What the model knows as its cache, see `KVCache`. Rows shorter than the longest are hidden by the mask."""

    def __init__(self, whole, rows):
        self.whole, self.rows = whole, rows
        self.starts = whole.lengths[rows].copy()  # (B,)
        self.length = int(self.starts.max())
        self._read: Any = None  # these rows, and where the new tokens are written: for every layer, on its device
        self._write: Any = None

    def extend(self, layer, k, v):  # (B, T, K, hd) twice -> (B, S, K, hd) twice
        """Write what layer `layer` just computed behind each row; returns all keys and values so far."""
        buffers = self.whole.with_room(layer, (k.data, v.data), self.length + k.shape[1])
        if self._read is None:
            self._upload(k.data)
        return tuple(self._written(b, new.data) for b, new in zip(buffers, (k, v), strict=True))

    def _upload(self, new):  # (B, T, K, hd)
        T = new.shape[1]
        self._read = self.rows if isinstance(self.rows, slice) else like(self.rows, new)
        if (self.starts == self.length).all():
            self._write = self._read, slice(self.length, self.length + T)
        else:
            rows = np.arange(len(self.whole.lengths), dtype=np.int64)[self.rows]
            places = self.starts[:, None] + np.arange(T, dtype=np.int64)
            self._write = like(rows[:, None], new), like(places, new)

    def _written(self, buffer, new):  # (rows, places, K, hd), (B, T, K, hd) -> (B, S, K, hd)
        buffer[self._write] = new
        return Tensor(buffer[self._read, : self.length + new.shape[1]])

    def mask(self, T):  # -> (B, S) bool host array or None
        """Which keys a query of each row sees, of the S that `extend` returns. For T = 1, or rows of one length."""
        if (self.starts == self.length).all():
            return None
        return np.arange(self.length + T, dtype=np.int64) < (self.starts + T)[:, None]
