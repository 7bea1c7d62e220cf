"""The device: what it is, waiting for it, and timing two sides on it in turns."""

import gc
import importlib.metadata
import platform
import time

import numpy as np

import minilora

LIBRARIES = ("numpy", "torch", "transformers", "peft")


def described():  # -> dict
    """The time, the card and the versions, for a row."""
    import cupy
    import torch

    runtime = cupy.cuda.runtime
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    versions["minilora"] = minilora.__version__  # it may run from a folder, not installed
    return {
        "measured": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "card": runtime.getDeviceProperties(0)["name"].decode(),
        "driver": runtime.driverGetVersion(), "cuda": runtime.runtimeGetVersion(), "torch_cuda": torch.version.cuda,
        "versions": versions | {"cupy": cupy.__version__, "python": platform.python_version()},
    }  # fmt: skip


def synchronize():
    """Wait until the device has done all work of CuPy and of torch."""
    import cupy
    import torch

    cupy.cuda.Device().synchronize()
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def in_turns(functions, seconds, warm=3, least=5, calls=1):  # {name: function} -> {name: array of seconds of a call}
    """Time the functions in turns for about `seconds`: from an idle device to an idle device.

    calls: of a function in one turn. More than one show what a stream of them takes: the launch and the wait of a
    single call take longer than a small kernel.
    """
    for function in list(functions.values()) * warm:  # compiles, and fills the pools of memory
        function()
    times = {name: [] for name in functions}
    began, rounds = time.perf_counter(), 0
    while rounds < least or time.perf_counter() - began < seconds:
        for name, function in functions.items():
            synchronize()
            start = time.perf_counter()
            for _ in range(calls):
                function()
            synchronize()
            times[name].append((time.perf_counter() - start) / calls)
        rounds += 1
    return {name: np.array(t) for name, t in times.items()}


def tf32_products(on):
    """Let CuPy and torch multiply float32 matrices in TF32, or not. CuPy reads CUPY_TF32 at its first product only."""
    import cupy
    import torch

    TF32, DEFAULT = 7, 1  # COMPUTE_TYPE_TF32 and COMPUTE_TYPE_DEFAULT in cupy/_core/_routines_linalg.pyx
    cupy._core.set_compute_type(np.float32, TF32 if on else DEFAULT)
    TF32_MATH, DEFAULT_MATH = 3, 0  # cublasMath_t; CuPy's products of many matrices at once look at nothing else
    cupy.cuda.cublas.setMathMode(cupy.cuda.get_cublas_handle(), TF32_MATH if on else DEFAULT_MATH)
    torch.backends.cuda.matmul.allow_tf32 = on


def free_memory():
    """Give back the memory of the device that no array needs any more."""
    import cupy
    import torch

    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()
    torch.cuda.empty_cache()


def peak_here(function):  # -> bytes
    """The most bytes of CuPy's pool that were in use during a call."""
    import cupy

    in_use = cupy.get_default_memory_pool().used_bytes()

    class Peak(cupy.cuda.MemoryHook):
        used = peak = in_use

        def malloc_postprocess(self, **fields):
            self.used += fields["mem_size"]
            self.peak = max(self.peak, self.used)

        def free_postprocess(self, **fields):
            self.used -= fields["mem_size"]

    with Peak() as hook:
        function()
    return hook.peak


def peak_there(function):  # -> bytes
    """The most bytes of torch's allocator that were in use during a call."""
    import torch

    torch.cuda.reset_peak_memory_stats()
    function()
    return torch.cuda.max_memory_allocated()
