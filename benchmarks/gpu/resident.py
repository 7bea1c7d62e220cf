"""Hundreds of adapters beside one base on a device: what they take, how long one is loaded, and what a switch costs.

The base has the shape of Llama 3 8B, in NF4, with embedding and head in float16. The adapters are in slots in float32,
as the server keeps them. All slots but the file's have the numbers of one adapter: that changes no time.
"""

import itertools
import math
import tempfile
import time
from pathlib import Path

import numpy as np

import minilora as ml
from minilora.adapters.mixed import BASE
from minilora.adapters.resident import Resident
from minilora.serving.reading import Reader

from .adapters import TARGETS, shown
from .bases import SHAPE_8B, SMALL, Batch, bytes_of, in_nf4, random_base
from .device import free_memory, in_turns, synchronize
from .measurements import Measurement

REPEATS = 5  # of a load


def measure(shape, targets, rank, most, kept_gib, batch_sizes, prompt, seconds):
    """One row. most: adapters to load at most; kept_gib: of memory for the steps, which no adapter takes."""
    import cupy

    began = time.perf_counter()
    base = random_base(shape, in_nf4("float16"), "float16")
    synchronize()
    built = time.perf_counter() - began
    base_bytes = bytes_of(base.parameters())
    lora = ml.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, init_lora_weights=False)
    model = ml.get_peft_model(base, lora).eval().base_model
    adapter = model.adapters["default"]
    layers = {path: model.wrap(path) for path in adapter.methods}
    each = bytes_of(adapter.own_parameters().values())
    free_memory()
    free, total = cupy.cuda.Device().mem_info
    fit = int((free - kept_gib * 2**30) // each)
    count = max(1, min(most, fit))

    resident, before = Resident(count), cupy.get_default_memory_pool().used_bytes()
    began = time.perf_counter()
    for number in range(count):
        resident.put(str(number), adapter.methods, layers)
    synchronize()
    filled = time.perf_counter() - began
    slots = cupy.get_default_memory_pool().used_bytes() - before

    yield {
        "parameters": sum(math.prod(p.shape) for p in base.parameters()), "targets": targets, "rank": rank,
        "card_bytes": total, "base_bytes": base_bytes, "build_seconds": built, "adapter_bytes": each, "fit": fit,
        "resident": count, "slot_bytes": slots / count, "fill_seconds": filled,
        **load_times(model, adapter, resident, layers),
        **step_times(model.model, resident, batch_sizes, prompt, seconds),
    }  # fmt: skip


def load_times(model, adapter, resident, layers):  # -> {what: milliseconds}
    """An adapter of a file: read, checked, uploaded. Of pinned memory: uploaded. Of the device: copied to its slot."""
    import cupy
    import cupyx

    parameters = list(adapter.own_parameters().values())
    pinned = [cupyx.empty_pinned(p.shape, np.float32) for p in parameters]
    for host, p in zip(pinned, parameters, strict=True):
        host[...] = cupy.asnumpy(p.data)

    def upload():
        for host, p in zip(pinned, parameters, strict=True):
            p.data = cupy.asarray(host)

    def move_in():
        resident.drop("0")
        resident.put("0", adapter.methods, layers)

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write(model, folder)
        reader = Reader(model, 64, str)
        loads = {
            "file_ms": lambda: list(reader.parts("adapter", folder)),
            "pinned_ms": upload,
            "slot_ms": move_in,
        }
        times = in_turns(loads, 0, warm=1, least=REPEATS)
    return {name: 1e3 * float(np.median(t)) for name, t in times.items()}


def write(model, folder):
    """The adapter as a folder, as `save_pretrained` writes it."""
    from minilora.adapters import files

    tensors, config = model.exported("default")
    files.write(folder, config, tensors, model.fingerprint())


def step_times(base, resident, batch_sizes, prompt, seconds):  # -> dict of milliseconds
    """Of decoding steps with as many adapters as rows, with none, and of one row whose adapter is another each time."""
    names = list(resident.slots)
    batches = {f"base {n}": Batch(base, resident, [BASE] * n, prompt + 1) for n in batch_sizes}
    batches |= {f"own {n}": Batch(base, resident, own_names(names, n), prompt + 1) for n in batch_sizes}
    same, switched = (Batch(base, resident, names[:1], prompt + 1) for _ in range(2))
    following = itertools.cycle(names[1:] + names[:1])
    for batch in (*batches.values(), same, switched):
        batch.read(prompt)

    def switch():
        switched.names = [next(following)]
        switched.decode()

    steps = in_turns({name: batch.decode for name, batch in batches.items()}, seconds)
    times = in_turns({"same": same.decode, "switched": switch}, seconds)
    more = 1e3 * (times["switched"] - times["same"])
    return {
        "step_ms": {name: 1e3 * float(np.median(t)) for name, t in steps.items()},
        **{f"{name}_ms": 1e3 * float(np.median(t)) for name, t in times.items()},
        "switch_ms": float(np.median(more)), "switch_quartiles": [float(q) for q in np.percentile(more, (25, 75))],
    }  # fmt: skip


def own_names(names, count):
    """A row each, in the order of the slots; again from the first where there are fewer adapters than rows."""
    return sorted(itertools.islice(itertools.cycle(names), count), key=names.index)


def row(r):
    steps = "  ".join(f"{name} {ms:.1f}" for name, ms in r["step_ms"].items())
    return (f"{shown(r['targets']):10} {r['base_bytes'] / 2**30:8.2f} {r['adapter_bytes'] / 2**20:11.1f} {r['fit']:5}"
            f" {r['resident']:8} {r['slot_bytes'] / 2**20:8.1f} {r['file_ms']:8.1f} {r['pinned_ms']:9.1f}"
            f" {r['slot_ms']:7.1f} {r['same_ms']:8.1f} {r['switched_ms']:12.1f} {r['switch_ms']:9.3f}"
            f"  {steps}")  # fmt: skip


RESIDENT = Measurement(
    measure,
    "targets    base GiB adapter MiB   fit resident slot MiB  file ms pinned ms slot ms  same ms  switched ms switch ms"
    "  ms of a step",
    row,
    [
        {"shape": SHAPE_8B, "targets": targets, "rank": 16, "most": 500, "kept_gib": 12, "batch_sizes": [1, 8, 64],
         "prompt": 128, "seconds": 20}
        for targets in TARGETS
    ],
    [{"shape": SMALL, "targets": targets, "rank": 4, "most": 6, "kept_gib": 0, "batch_sizes": [1, 4], "prompt": 8,
      "seconds": 0.1} for targets in TARGETS],
)  # fmt: skip
