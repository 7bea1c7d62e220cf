"""A card for the measurements where there is none: the stand-in as CuPy, with what benchmarks.gpu asks a device.

`card.bytes` is what the pool of memory says; a hook of it sees one allocation of 3 MiB and its end.
"""

import contextlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import strict_cupy


@pytest.fixture
def card(monkeypatch):
    """sys.modules has the stand-in as cupy; torch computes on the CPU."""
    with calm_torch():
        yield install(monkeypatch)


def install(monkeypatch):  # -> what a test looks at
    """Put the stand-in in CuPy's place, with what the measurements ask a device."""
    state = SimpleNamespace(bytes=5 << 20, compute_types=[], math_modes=[], synchronized=0)
    monkeypatch.setitem(sys.modules, "cupy", strict_cupy)
    pool = SimpleNamespace(
        used_bytes=lambda: state.bytes, total_bytes=lambda: state.bytes, free_all_blocks=lambda: None
    )

    def synchronize(self):
        state.synchronized += 1

    monkeypatch.setattr(strict_cupy.Device, "synchronize", synchronize, raising=False)
    for name, value in {
        "__version__": "14.2.0",
        "copyto": lambda to, source: np.copyto(to._host, source._host),
        "get_default_memory_pool": lambda: pool,
        "_core": SimpleNamespace(set_compute_type=lambda *given: state.compute_types.append(given)),
    }.items():
        monkeypatch.setattr(strict_cupy, name, value, raising=False)
    monkeypatch.setattr(strict_cupy.Device, "mem_info", (10**6, 10**9), raising=False)  # free, total
    properties = {"name": b"a stand-in"}
    runtime = strict_cupy.cuda.runtime
    monkeypatch.setattr(runtime, "getDeviceProperties", lambda index: properties, raising=False)
    monkeypatch.setattr(runtime, "driverGetVersion", lambda: 13000, raising=False)
    monkeypatch.setattr(runtime, "runtimeGetVersion", lambda: 13000, raising=False)
    cublas = SimpleNamespace(setMathMode=lambda handle, mode: state.math_modes.append(mode))
    monkeypatch.setattr(strict_cupy.cuda, "cublas", cublas, raising=False)
    monkeypatch.setattr(strict_cupy.cuda, "get_cublas_handle", lambda: 1, raising=False)
    monkeypatch.setattr(strict_cupy.cuda, "MemoryHook", MemoryHook, raising=False)
    monkeypatch.setitem(sys.modules, "cupyx", SimpleNamespace(empty_pinned=np.empty))
    with contextlib.suppress(ImportError):
        import torch

        monkeypatch.setattr(torch.version, "cuda", "13.0")
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)  # a build for a CPU has none
    return state


@contextlib.contextmanager
def calm_torch():
    """torch, where it is installed, on one thread, and in float32 afterwards."""
    try:
        import torch
    except ImportError:
        yield
        return
    threads, tf32 = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = tf32


class MemoryHook(contextlib.AbstractContextManager):
    def __exit__(self, *error):
        self.malloc_postprocess(device_id=0, size=2 << 20, mem_size=3 << 20, mem_ptr=1, pmem_id=1)
        self.free_postprocess(device_id=0, mem_size=3 << 20, mem_ptr=1, pmem_id=1)
