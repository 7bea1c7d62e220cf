"""What the card can do at most: products of matrices, copies, and the cost of one launch and one synchronisation.

The other measurements divide by these. Each is measured through CuPy, except the launch of torch beside it.
"""

import time

import numpy as np

from .device import synchronize, tf32_products
from .measurements import Measurement

PRECISIONS = ("float32", "tf32", "float16")


def measure(square, mib, calls):
    """One row: FLOP/s of each precision, bytes/s of each copy, seconds of a launch and of a synchronisation."""
    yield {
        **{precision: matrix_rate(precision, square) for precision in PRECISIONS},
        **copy_rates(mib),
        **costs(calls),
    }


def matrix_rate(precision, n):  # -> FLOP/s of products of two (n, n) matrices
    import cupy

    tf32_products(precision == "tf32")
    a = np.random.default_rng(0).standard_normal((n, n), dtype=np.float32)  # ones would need less power, and be faster
    a = cupy.asarray(a).astype(np.float16 if precision == "float16" else np.float32)
    return 2 * n**3 / seconds_of(lambda: a @ a, 10)


def copy_rates(mib):  # -> {copy: bytes/s}; a copy on the device reads and writes each byte
    import cupy
    import cupyx

    host = np.ones(mib << 18, np.float32)
    pinned = cupyx.empty_pinned(host.shape, np.float32)
    pinned[...] = host
    there = cupy.asarray(host)
    copy = cupy.empty_like(there)
    return {
        "device_copy": 2 * host.nbytes / seconds_of(lambda: cupy.copyto(copy, there), 10),
        "pageable": host.nbytes / seconds_of(lambda: cupy.asarray(host), 3),
        "pinned": host.nbytes / seconds_of(lambda: cupy.asarray(pinned), 3),
    }


def costs(calls):  # -> {what: seconds}
    """Of an element-wise kernel on a few numbers, and of a wait for an idle device: the host's time."""
    import cupy
    import torch

    from .sides import torch_device

    x, y = cupy.zeros(16, np.float32), torch.zeros(16, device=torch_device())
    return {
        "launch": seconds_of(lambda: cupy.add(x, x, out=x), calls),
        "torch_launch": seconds_of(lambda: torch.add(y, y, out=y), calls),
        "synchronize": seconds_of(cupy.cuda.Device().synchronize, calls),
    }


def seconds_of(function, calls):  # -> seconds of a call, when many follow one another
    for _ in range(2):
        function()
    synchronize()
    began = time.perf_counter()
    for _ in range(calls):
        function()
    synchronize()
    return (time.perf_counter() - began) / calls


def row(r):
    return (" ".join(f"{r[precision] / 1e12:8.1f}" for precision in PRECISIONS)
            + f" {r['device_copy'] / 1e9:12.0f} {r['pageable'] / 1e9:14.1f} {r['pinned'] / 1e9:12.1f}"
            f" {r['launch'] * 1e6:10.1f} {r['torch_launch'] * 1e6:16.1f} {r['synchronize'] * 1e6:15.1f}")  # fmt: skip


RATES = Measurement(
    measure,
    " float32     TF32  float16  device GB/s  pageable GB/s  pinned GB/s  launch µs  torch launch µs  synchronize µs",
    row,
    [{"square": 8192, "mib": 1024, "calls": 2000}],
    [{"square": 128, "mib": 4, "calls": 20}],
)
