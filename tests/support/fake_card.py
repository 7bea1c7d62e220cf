"""A card for the measurements where there is none: the stand-in as CuPy, with what benchmarks.gpu asks a device.

`card.bytes` is what the pool of memory says; a hook of it sees one allocation of 3 MiB and its end.
"""

import contextlib
import sys
import time
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import strict_cupy


@pytest.fixture
def card(monkeypatch):
    """sys.modules has the stand-in as cupy; torch computes on the CPU."""
    state = SimpleNamespace(bytes=5 << 20, compute_types=[], synchronized=0)
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
    properties = {"name": b"a stand-in"}
    runtime = strict_cupy.cuda.runtime
    monkeypatch.setattr(runtime, "getDeviceProperties", lambda index: properties, raising=False)
    monkeypatch.setattr(runtime, "driverGetVersion", lambda: 13000, raising=False)
    monkeypatch.setattr(runtime, "runtimeGetVersion", lambda: 13000, raising=False)
    monkeypatch.setattr(strict_cupy.cuda, "MemoryHook", MemoryHook, raising=False)
    cupyx, profiler = ModuleType("cupyx"), ModuleType("cupyx.profiler")
    cupyx.empty_pinned, cupyx.profiler, profiler.benchmark = np.empty, profiler, benchmark
    monkeypatch.setitem(sys.modules, "cupyx", cupyx)
    monkeypatch.setitem(sys.modules, "cupyx.profiler", profiler)
    with contextlib.suppress(ImportError):
        import torch

        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)  # a build for a CPU has none
    return state


class MemoryHook(contextlib.AbstractContextManager):
    def __exit__(self, *error):
        self.malloc_postprocess(device_id=0, size=2 << 20, mem_size=3 << 20, mem_ptr=1, pmem_id=1)
        self.free_postprocess(device_id=0, mem_size=3 << 20, mem_ptr=1, pmem_id=1)


def benchmark(function, n_repeat, n_warmup):  # as cupyx.profiler.benchmark: times of the host and of the device
    times = []
    for _ in range(n_warmup + n_repeat):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    times = np.array(times[n_warmup:])
    return SimpleNamespace(cpu_times=times, gpu_times=times[None])
