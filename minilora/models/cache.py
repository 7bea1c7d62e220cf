"""The keys and values of the tokens seen so far."""

from ..autograd import Tensor, is_recording
from ..backend import array_module
from ..ops import concat


class KVCache:
    """The keys and values of the tokens seen so far, per layer (B, S, K, hd).

    Entries are Tensors: while recording they are joined on the tape, so that attention sends gradients back to cached
    keys and values (a prefix is a trained cache). Otherwise they are the front of a buffer with `capacity` places.
    """

    def __init__(self, capacity=0):
        self.capacity = capacity
        self.entries: dict[int, tuple] = {}  # layer -> (keys, values)
        self._buffers = {}  # (layer, 0 or 1) -> the array with room, and the Tensor that is its front so far

    @property
    def length(self):
        """How many tokens S have passed."""
        return next((keys.shape[1] for keys, _ in self.entries.values()), 0)

    def extend(self, layer, k, v):  # (B, T, K, hd) twice -> (B, S, K, hd) twice
        """Append what layer `layer` just computed; returns all keys and values so far."""
        old_k, old_v = self.entries.get(layer, (None, None))
        self.entries[layer] = self._join((layer, 0), old_k, k), self._join((layer, 1), old_v, v)
        return self.entries[layer]

    def cut(self, length):
        """Forget the keys and values behind the first `length` tokens."""
        if length:
            self.entries = {i: (k[:, :length], v[:, :length]) for i, (k, v) in self.entries.items()}
        else:
            self.entries.clear()

    def _join(self, place, old, new):
        if is_recording():
            self._buffers.pop(place, None)  # it does not hold what is recorded
            return new if old is None else concat([old, new], axis=1)
        start = 0 if old is None else old.shape[1]
        end = start + new.shape[1]
        buffer, front = self._buffers.get(place, (None, None))
        if buffer is None or end > buffer.shape[1] or front is not old:  # the entries were exchanged
            shape = (new.shape[0], max(end, self.capacity), *new.shape[2:])
            buffer = array_module(new.data).empty(shape, dtype=new.dtype)
            if old is not None:
                buffer[:, :start] = old.data
        buffer[:, start:end] = new.data
        front = Tensor(buffer[:, :end])
        self._buffers[place] = buffer, front
        return front
