"""What every format here has in common: a frozen weight (out, in) that is stored in fewer bits, and read in float32.

A block of rows is read at a time, so that the float32 copy stays small and in the processor's cache.
"""

from typing import Any

import numpy as np

from ..backend import array_module, device_of, to_device
from ..errors import FormatError

BLOCK = 2**20  # numbers of a block of rows; 4 MiB in float32


class Stored:
    """A weight in a format. A subclass defines what is declared here.

    shape   (out, in)
    arrays  the names of its attributes that are arrays
    step    a block of rows begins at a multiple of this row
    """

    shape: tuple
    arrays: tuple = ()
    step = 1
    dtype = np.dtype(np.float32)  # of the numbers that are read

    def rows(self, start: int, stop: int) -> Any:  # -> (stop - start, in) float32, a new array
        """The rows start..stop-1 of the weight; `start` is a multiple of `step`."""
        raise NotImplementedError

    def blocks(self):  # -> iterator of (slice of rows, (rows, in) float32)
        """The weight, a block of rows at a time."""
        for rows in blocks_of_rows(self.shape, self.step):
            yield rows, self.rows(rows.start, rows.stop)

    def dense(self):  # -> (out, in) float32
        """The whole weight."""
        W = array_module(self.first).empty(self.shape, np.float32)
        for rows, block in self.blocks():
            W[rows] = block
        return W

    @property
    def first(self):
        return getattr(self, self.arrays[0])

    @property
    def nbytes(self) -> int:
        """Bytes of all its arrays."""
        return sum(getattr(self, name).nbytes for name in self.arrays)

    @property
    def device(self) -> str:
        return device_of(self.first)

    def move(self, device: str) -> None:
        """Move its arrays to "cpu", "cuda" or "cuda:n"."""
        for name in self.arrays:
            setattr(self, name, to_device(getattr(self, name), device))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, {self.nbytes:,} bytes)"


def blocks_of_rows(shape, step: int = 1):  # (out, in) -> iterator of slices of rows
    """Slices that cover the rows, of about BLOCK numbers and a multiple of `step` rows; the last may be shorter."""
    out, width = shape
    count = max(step, BLOCK // max(width, 1) // step * step)
    return (slice(at, min(at + count, out)) for at in range(0, out, count))


def check_finite(largest, what: str) -> None:
    """Raises FormatError unless every number of the array `largest` (maxima of absolute values) is finite."""
    if not array_module(largest).isfinite(largest).all():
        raise FormatError(f"a weight has a number that is not finite, and cannot be stored in {what}")
