"""What the time of a training step is made of, here and in torch: kernels, gaps between them, copies, waits.

torch's profiler records every kernel of the process, CuPy's too: CUPTI sees them below both libraries. The times of the
kernels are the device's own. The profiler slows the host down, so the gaps that it shows are longer than they are
without it. `wall` and `host` are measured without it. `host` is the time until the function returns: when it is as long
as `wall`, the device waits for the host.
"""

import json
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from ..models import Size, batch, config_of
from .device import in_turns, synchronize, tf32_products
from .measurements import Measurement
from .sides import both, random_weights
from .step import TRAINED, step_here, step_there

REGION = "measured"  # what the profiler writes around the calls
ON_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")  # categories in the trace
PRODUCTS = ("gemm", "gemv", "cutlass", "xmma", "nvjet")  # in the names of cuBLAS's kernels


def measure(width, layers, heads, vocab, rows, tokens, trained, precision, seconds, calls):
    """A row for this package and one for torch, of the same step."""
    tf32_products(precision == "tf32")
    size = Size(width, layers, heads, heads, vocab, rows, tokens)
    model, theirs = both(size, random_weights(config_of("llama", size)), TRAINED[trained])
    ids, labels = batch(size)
    half = precision == "float16"
    steps = {"here": step_here(model, ids, labels, half), "torch": step_there(theirs, ids, labels, half)}
    walls = in_turns(steps, seconds)
    for side, step in steps.items():
        yield {
            "width": width, "trained": trained, "precision": precision, "side": side,
            "wall": float(np.median(walls[side])) * 1e3, "host": host_time(step) * 1e3,
            **summary(traced(step, calls), calls),
        }  # fmt: skip


def host_time(function, calls=5):  # -> seconds until a call returns, the device idle before it: the median
    times = []
    for _ in range(calls):
        synchronize()
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    synchronize()
    return float(np.median(times))


def traced(function, calls):  # -> the trace of so many calls, as the profiler writes it (Chrome's format)
    import torch

    activities = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    for _ in range(2):  # the first trace starts the profiler's own libraries
        synchronize()
        with torch.profiler.profile(activities=activities) as profiler:
            with torch.profiler.record_function(REGION):
                for _ in range(calls):
                    function()
            synchronize()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        return json.loads(path.read_text(encoding="utf-8"))


def summary(trace, calls, longest=8):  # -> dict, of one call; times in milliseconds
    """launches, kernels (their time), busy, products, gaps, copies, waits, slowest, stalls; None where nothing ran on
    the device: the profiler saw no kernel.

    busy      the time in which a kernel or a copy ran: parts that overlap count once
    gaps      the rest of the time from the first of them to the last
    slowest   [name, milliseconds, launches] of the kernels with the most time
    stalls    [milliseconds, the kernel before, the kernel after] of the longest gaps, in all calls
    """
    events = [e for e in trace["traceEvents"] if e.get("ph") == "X"]
    on_device = sorted((e for e in events if e.get("cat") in ON_DEVICE), key=lambda e: e["ts"])
    kernels = [e for e in on_device if e["cat"] == "kernel"]
    if not kernels:
        return {"launches": None}
    busy, stalls = busy_and_stalls(on_device)
    span = max(e["ts"] + e["dur"] for e in on_device) - on_device[0]["ts"]
    by_name = defaultdict(list)
    for e in kernels:
        by_name[e["name"]].append(e["dur"])
    slowest = sorted(by_name.items(), key=lambda item: -sum(item[1]))[:longest]
    return {
        "launches": len(kernels) / calls,
        "kernels": sum(e["dur"] for e in kernels) / calls / 1e3,
        "busy": busy / calls / 1e3,
        "products": sum(e["dur"] for e in kernels if is_product(e["name"])) / calls / 1e3,
        "gaps": (span - busy) / calls / 1e3,
        "copies": copies(on_device, calls),
        "waits": waits(events) / calls,
        "slowest": [[name, sum(times) / calls / 1e3, len(times) / calls] for name, times in slowest],
        "stalls": [[gap / 1e3, *names] for gap, *names in sorted(stalls, reverse=True)[:longest]],
    }  # fmt: skip


def busy_and_stalls(on_device):  # events in the order of their start -> µs, [(µs of a gap, name before, name after)]
    busy, stalls = 0, []
    last = on_device[0]
    end = last["ts"]
    for e in on_device:
        if e["ts"] > end:
            stalls.append((e["ts"] - end, last["name"], e["name"]))
        busy += max(0, e["ts"] + e["dur"] - max(end, e["ts"]))
        if e["ts"] + e["dur"] >= end:
            last, end = e, e["ts"] + e["dur"]
    return busy, stalls


def is_product(name):
    return any(part in name.lower() for part in PRODUCTS)


def copies(on_device, calls):  # -> {"HtoD": [copies, bytes] of a call}; names are "Memcpy HtoD (Pageable -> Device)"
    counts, sizes = Counter(), Counter()
    for e in on_device:
        if e["cat"] == "gpu_memcpy":
            direction = e["name"].split()[1]
            counts[direction] += 1
            sizes[direction] += e["args"]["bytes"]
    return {direction: [counts[direction] / calls, sizes[direction] / calls] for direction in sorted(counts)}


def waits(events):  # -> how often the host waited for the device inside the measured region
    region = next(e for e in events if e.get("cat") == "user_annotation" and e["name"] == REGION)
    return sum(
        "Synchronize" in e["name"] and region["ts"] <= e["ts"] < region["ts"] + region["dur"]
        for e in events
        if e.get("cat") in ("cuda_runtime", "cuda_driver")
    )


def row(r):
    line = f"{r['width']:>5}  {r['trained']:10} {r['precision']:8} {r['side']:5} {r['wall']:8.2f} {r['host']:8.2f}"
    if r["launches"] is None:
        return f"{line}  the profiler saw no kernel"
    counted = " ".join(f"{r['copies'].get(name, [0])[0]:5.1f}" for name in ("HtoD", "DtoH", "DtoD"))
    line += (f" {r['launches']:9.1f} {r['kernels']:11.2f} {r['busy'] / r['wall']:6.0%} {r['products']:12.2f}"
             f" {r['gaps']:8.2f} {counted} {r['waits']:6.1f}")  # fmt: skip
    slowest = [f"         {ms:8.3f} ms {n:7.1f} times  {name[:80]}" for name, ms, n in r["slowest"]]
    stalls = [
        f"         {ms:8.3f} ms idle after {before[:40]}, before {after[:40]}" for ms, before, after in r["stalls"]
    ]
    return "\n".join([line, *slowest, *stalls])


SIZES = {"layers": 4, "vocab": 8192, "rows": 4, "tokens": 512, "trained": "q,v", "seconds": 2, "calls": 3}
PROFILE = Measurement(
    measure,
    "width  trained    type     side   wall ms  host ms  launches  kernels ms   busy  products ms  gaps ms"
    "  HtoD  DtoH  DtoD  waits",
    row,
    [SIZES | {"width": w, "heads": w // 64, "precision": p}
     for w, p in ((768, "float32"), (768, "float16"), (4096, "tf32"))],
    [SIZES | {"width": 64, "heads": 4, "layers": 2, "vocab": 128, "rows": 2, "tokens": 32, "precision": "float32",
              "seconds": 0.1}],
)  # fmt: skip
