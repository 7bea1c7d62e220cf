"""What every format here has in common: a frozen weight (out, in) that is stored in fewer bits, and read in float32.

A block of rows is read at a time, so that the float32 copy stays small and in the processor's cache. On a GPU a block
is larger, mostly the whole weight: there each block costs the time of its launches.
"""

import functools
from typing import Any

import numpy as np

from ..backend import array_module, device_of, to_device
from ..errors import FormatError
from ..rounding import round_to

BLOCK = 2**20  # numbers of a block of rows; 4 MiB in float32
GPU_BLOCK = 2**26  # 256 MiB


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

    def rows(self, start: int, stop: int, kind: str = "float32") -> Any:  # -> (stop - start, in), a new array
        """The rows start..stop-1 of the weight, as an `operand` of this kind; `start` is a multiple of `step`."""
        raise NotImplementedError

    def blocks(self, kind: str = "float32"):  # -> iterator of (slice of rows, (rows, in))
        """The weight, a block of rows at a time, as operands of this kind."""
        for rows in blocks_of_rows(self.shape, self.step, array_module(self.first)):
            yield rows, self.rows(rows.start, rows.stop, kind)

    def dense(self):  # -> (out, in) float32
        """The whole weight."""
        xp = array_module(self.first)
        if len(list(blocks_of_rows(self.shape, self.step, xp))) == 1:
            return self.rows(0, self.shape[0])
        W = xp.empty(self.shape, np.float32)
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


def operand(x, kind: str):  # float32 -> float32, or float16
    """x rounded to the numbers that `kind` has. On a GPU it is in float16 then: that multiplies such arrays faster."""
    return x.astype(np.float16) if operand_type(x, kind) == np.float16 else round_to(x, kind)


def operand_type(x, kind: str) -> type:
    """np.float16 or np.float32: the type of an operand of this kind in the memory where `x` is."""
    return np.float16 if kind == "float16" and array_module(x) is not np else np.float32


def table(make, *about, beside):
    """The NumPy array make(*about), which is always the same, in the memory where `beside` is. A GPU keeps its copy."""
    xp = array_module(beside)
    return make(*about) if xp is np else _uploaded(xp, beside.device.id, make, *about)


@functools.cache
def _uploaded(xp, device, make, *about):
    with xp.cuda.Device(device):
        return xp.asarray(make(*about))


def blocks_of_rows(shape, step: int = 1, xp: Any = np):  # (out, in) -> iterator of slices of rows
    """Slices that cover the rows, of about BLOCK numbers and a multiple of `step` rows; the last may be shorter.

    xp: the library of the weight
    """
    out, width = shape
    count = max(step, (BLOCK if xp is np else GPU_BLOCK) // max(width, 1) // step * step)
    return (slice(at, min(at + count, out)) for at in range(0, out, count))


def check_finite(largest, what: str) -> None:
    """Raises FormatError unless every number of the array `largest` (maxima of absolute values) is finite."""
    if not array_module(largest).isfinite(largest).all():
        raise FormatError(f"a weight has a number that is not finite, and cannot be stored in {what}")
