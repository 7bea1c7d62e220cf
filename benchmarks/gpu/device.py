"""The device: what it is, waiting for it, and timing two sides on it in turns."""

import importlib.metadata
import platform
import time

import numpy as np

import minilora

LIBRARIES = ("numpy", "torch", "transformers", "peft")


def described():  # -> dict
    """The card and the versions, for a row."""
    import cupy
    import torch

    runtime = cupy.cuda.runtime
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    versions["minilora"] = minilora.__version__  # it may run from a folder, not installed
    return {
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


def in_turns(functions, seconds, warm=3, least=5):  # {name: function} -> {name: array of seconds}
    """Time the functions in turns for about `seconds`: each call from an idle device to an idle device."""
    for function in list(functions.values()) * warm:  # compiles, and fills the pools of memory
        function()
    times = {name: [] for name in functions}
    began, rounds = time.perf_counter(), 0
    while rounds < least or time.perf_counter() - began < seconds:
        for name, function in functions.items():
            synchronize()
            start = time.perf_counter()
            function()
            synchronize()
            times[name].append(time.perf_counter() - start)
        rounds += 1
    return {name: np.array(t) for name, t in times.items()}
