"""Where arrays live: NumPy or CuPy, decided per array.

`np` means NumPy everywhere in this package. An operation asks `xp = array_module(x)` and uses only what both
libraries have. Random numbers are drawn by NumPy on the host and uploaded, so that a seed means the same on both.
"""

import re
import sys

import numpy as np

from .errors import ConfigError

HOST_TYPES = (np.ndarray, np.generic, int, float, list, tuple)


def array_module(x):
    """The library that `x` belongs to: numpy for NumPy arrays and Python numbers, cupy for CuPy arrays.

    No import: an array of another library proves that the library is loaded.
    """
    if isinstance(x, HOST_TYPES):
        return np
    return sys.modules[type(x).__module__.partition(".")[0]]


def to_host(x):  # any array -> numpy.ndarray
    """`x` as a NumPy array; a copy across the bus when it lives on a GPU."""
    return x if isinstance(x, np.ndarray) else np.asarray(x.get() if hasattr(x, "get") else x)


def to_device(x, device="cpu"):
    """`x` (NumPy or CuPy) on `device`: "cpu", "cuda" or "cuda:1". Raises ConfigError when there is no such device.

    A GPU stays the current one afterwards: operations on its arrays run there, and new arrays are made there.
    """
    if device == "cpu":
        return to_host(x)
    cupy = require_cupy(device)
    cupy.cuda.Device(device_index(device)).use()
    return cupy.asarray(x)


def like(host, x):
    """The NumPy array `host` where `x` lives: itself, or uploaded."""
    xp = array_module(x)
    return host if xp is np else xp.asarray(host)


def working_type(dtype):  # -> numpy.dtype
    """What is computed in: float32, or float64 for gradient checks. Raises ConfigError for another."""
    try:
        made = None if dtype is None else np.dtype(dtype)
    except TypeError:
        made = None
    if made not in (np.float32, np.float64):
        raise ConfigError(f"dtype {dtype!r}: expected float32 or float64; 16-bit files are widened, which is exact")
    return made


def device_of(x):  # -> "cpu" or "cuda:n"
    return "cpu" if isinstance(x, np.ndarray) else f"cuda:{x.device.id}"


def device_index(device):  # "cuda:1" -> 1
    match = re.fullmatch(r"cuda(?::([0-9]+))?", str(device))
    if match is None:
        raise ConfigError(f"unknown device {device!r}; expected cpu, cuda or cuda:n")
    return int(match[1] or 0)


def require_cupy(device):
    """Import CuPy and check that `device` exists. Raises ConfigError in one line when it does not."""
    index = device_index(device)
    try:
        import cupy
    except ImportError as error:
        raise ConfigError(f"device {device} needs CuPy: install minilora[cuda12] or minilora[cuda13]") from error
    count = cupy.cuda.runtime.getDeviceCount() if cupy.cuda.is_available() else 0
    if index >= count:
        raise ConfigError(f"device {device} not found: CuPy sees {count} CUDA device(s)")
    return cupy


def inner(a, b):  # (..., d), (..., d) -> (...)
    """Σ a · b over the last axis. On the host without an array of the products: one dot product a row."""
    return np.vecdot(a, b) if isinstance(a, np.ndarray) else (a * b).sum(axis=-1)


def narrow_product(u, M):  # (N, r), (r, n) -> (N, n)
    """u M, for a small r. NumPy makes the product of one column and one row without its BLAS, ten times slower."""
    return u @ M if len(M) > 1 else u * M


def scatter_add(target, index, source):  # (N, d), (n,) int64, (n, d) -> None
    """target[index[i]] += source[i], in place; repeated indices add up.

    On NumPy by sorting, which is several times faster than `add.at` and adds in a fixed order. On a GPU by atomics:
    the right sum, but the order of the additions, so the last bit, is not fixed.
    """
    if len(index) == 0:
        return
    if isinstance(target, np.ndarray):
        order = np.argsort(index, kind="stable")
        rows = index[order]
        starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
        target[rows[starts]] += np.add.reduceat(source[order], starts, axis=0)
    else:
        array_module(target).add.at(target, index, source)


def reuse_freed_memory():
    """Ask the C library to keep the memory of freed arrays for the next ones. Called once, when this file is imported.

    glibc gives the free top of its heap back to the system after every few frees, and asks the system for every large
    array anew; each page is then cleared again when it is touched next: a fifth of the time of a training step. With
    these settings arrays up to 32 MiB (its limit) come from the heap, and up to 1 GiB of it is kept while it is free.
    Elsewhere than in glibc this changes nothing.
    """
    if sys.platform != "linux":
        return
    try:
        import ctypes  # not every Python has it, and only this needs it

        mallopt = ctypes.CDLL(None).mallopt
    except (ImportError, OSError, AttributeError):  # another C library
        return
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
    mallopt(M_MMAP_THRESHOLD, 32 << 20)
    mallopt(M_TRIM_THRESHOLD, 1 << 30)


reuse_freed_memory()
