"""Where arrays live: NumPy or CuPy, decided per array.

`np` means NumPy everywhere in this package. An operation asks `xp = array_module(x)` and uses only what both
libraries have. Random numbers are drawn by NumPy on the host and uploaded, so that a seed means the same on both.
"""

import functools
import operator
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import ConfigError
from .launcher import threads

HOST_TYPES = (np.ndarray, np.generic, int, float, list, tuple)


def array_module(x) -> Any:
    """The library that `x` belongs to: numpy for NumPy arrays and Python numbers, cupy for CuPy arrays.

    It imports nothing: whoever made a CuPy array has imported CuPy.
    """
    if isinstance(x, HOST_TYPES):
        return np
    return sys.modules[type(x).__module__.partition(".")[0]]


def to_host(x) -> np.ndarray:
    """`x` as a NumPy array: `x` itself when it is one, a copy when it is on a GPU."""
    return x if isinstance(x, np.ndarray) else np.asarray(x.get() if hasattr(x, "get") else x)


def to_device(x, device: str = "cpu"):
    """The array `x` (NumPy or CuPy) on `device`: "cpu", "cuda" or "cuda:1". Raises ConfigError for an unknown device.

    Moving an array to a GPU makes it this thread's current device, see `use_device`.
    """
    if device == "cpu":
        return to_host(x)
    use_device(device)
    return require_cupy(device).asarray(x)


def use_device(device: str) -> None:
    """Let this thread compute and make arrays on `device`; "cpu" changes nothing. Raises ConfigError as `to_device`.

    CUDA has a current device for each thread, which is at first 0. A kernel runs there, and takes arrays of no other.
    """
    if device != "cpu":
        require_cupy(device).cuda.Device(device_index(device)).use()


def compute_beside(x) -> None:
    """Let this thread compute on the device of the array `x`: another model may have computed elsewhere before."""
    if array_module(x) is not np:
        x.device.use()


def like(host, x):
    """The NumPy array `host` in the memory where `x` is: `host` itself, or a copy on the GPU.

    The GPU of `x` becomes this thread's current device: every forward uploads its tokens first, and computes there.
    """
    xp = array_module(x)
    if xp is np:
        return host
    x.device.use()
    return xp.asarray(host)


def working_type(dtype) -> np.dtype:
    """The type to compute in: float32, or float64 for gradient checks. Raises ConfigError for any other."""
    try:
        working = None if dtype is None else np.dtype(dtype)  # NumPy reads None as float64
    except TypeError:
        working = None
    if working is None or working not in (np.float32, np.float64):
        raise ConfigError(f"dtype {dtype!r}: expected float32 or float64; 16-bit files are widened, which is exact")
    return working


def device_of(x) -> str:
    """Where the array `x` is: "cpu" or "cuda:n"."""
    return "cpu" if isinstance(x, np.ndarray) else f"cuda:{x.device.id}"


def device_index(device: str) -> int:
    """The number of a GPU: 0 for "cuda", 1 for "cuda:1". Raises ConfigError for any other text."""
    match = re.fullmatch(r"cuda(?::([0-9]+))?", str(device))
    if match is None:
        raise ConfigError(f"unknown device {device!r}; expected cpu, cuda or cuda:n")
    return int(match[1] or 0)


def require_cupy(device: str) -> Any:
    """The module cupy, once it is certain that it can use `device`. Raises ConfigError otherwise."""
    index = device_index(device)
    try:
        import cupy  # pyright: ignore[reportMissingImports]  (optional, and only where there is a GPU)
    except ImportError as error:
        raise ConfigError(f"device {device} needs CuPy: install minilora[cuda12] or minilora[cuda13]") from error
    count = cupy.cuda.runtime.getDeviceCount() if cupy.cuda.is_available() else 0
    if index >= count:
        raise ConfigError(f"device {device} not found: CuPy sees {count} CUDA device(s)")
    return cupy


def inner(a, b):  # (..., d), (..., d) -> (...)
    """Σ a · b over the last axis. NumPy does it without storing the products: one dot product per row."""
    return np.vecdot(a, b) if isinstance(a, np.ndarray) else (a * b).sum(axis=-1)


def inner_columns(a, b):  # (N, d), (N, d) -> (d,)
    """Σ a · b over the rows. NumPy does it in one walk over both: `inner` of the transposes is 10 times slower."""
    return np.einsum("nd,nd->d", a, b) if isinstance(a, np.ndarray) else (a * b).sum(axis=0)


def sum_rows(g):  # (..., d) -> (d,)
    """The sum over all leading axes."""
    return g.reshape(-1, g.shape[-1]).sum(axis=0)


def add_up(arrays: list):
    """The sum of arrays of one shape on a GPU, in one kernel."""
    return _adder(array_module(arrays[0]), len(arrays))(*arrays)


@functools.cache
def _adder(xp, n):
    return xp.fuse(kernel_name=f"add_{n}")(lambda *arrays: functools.reduce(operator.add, arrays))


def product(a, b):  # (n, k), (k, m) -> (n, m)
    """a b. On a GPU a float16 matrix makes it a product of float16 numbers, which is faster; its sums are float32."""
    if a.dtype == b.dtype or isinstance(a, np.ndarray):
        return a @ b
    wide = np.result_type(a.dtype, b.dtype)
    return (a.astype(np.float16, copy=False) @ b.astype(np.float16, copy=False)).astype(wide)


@functools.cache
def fused(xp: Any, make: Callable, *about) -> Callable:
    """The function that make(xp, *about) returns, as one kernel of CuPy, compiled at its first call with a type."""
    function = make(xp, *about)
    return xp.fuse(kernel_name=function.__name__)(function)


@functools.cache
def reads_in_place() -> bool:
    """Whether NumPy multiplies small matrices without a copy of them, and larger ones on one or two threads.

    OpenBLAS does on processors with AVX-512. It then uses one thread, so more than two are faster together.
    """
    config = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {}).get("name", "")
    found = config.get("SIMD Extensions", {}).get("found", [])
    return "openblas" in blas and not {"X86_V4", "AVX512_SKX"}.isdisjoint(found) and threads() <= 2


def narrow_product(u, M):  # (N, r), (r, n) -> (N, n)
    """u M for a small r. With r = 1 it multiplies elementwise: NumPy's matmul uses no BLAS then, 10 times slower."""
    return u * M if len(M) == 1 else u @ M


def scatter_add(target, index, source) -> None:  # (N, d), (n,) int64, (n, d)
    """target[index[i]] += source[i], in place; repeated indices add up.

    NumPy arrays are sorted by index first: several times faster than `add.at`, and the additions have a fixed order.
    A GPU uses atomic additions: the sum is right, but their order varies, and with it the last bit.
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


def reuse_freed_memory() -> None:
    """Ask the C library to keep the memory of freed arrays for the next ones. Called once, when this file is imported.

    By default glibc returns free memory to the system after every few frees, and asks the system for every large array.
    The system clears each page before its next use: that took a fifth of a training step. With these settings arrays up
    to 32 MiB (glibc's limit) come from its heap, and up to 1 GiB of the heap is kept while it is free.
    With another C library this function changes nothing.
    """
    if sys.platform != "linux":
        return
    try:
        import ctypes  # some Pythons lack it

        mallopt = ctypes.CDLL(None).mallopt
    except (ImportError, OSError, AttributeError):  # another C library
        return
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
    mallopt(M_MMAP_THRESHOLD, 32 << 20)
    mallopt(M_TRIM_THRESHOLD, 1 << 30)


reuse_freed_memory()
