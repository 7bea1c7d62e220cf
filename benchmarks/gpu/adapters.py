"""64 adapters in one batch on a device: a decoding step and the reading of prompts, as the server's engine runs them.

base      every row is the base's alone
one       every row has the same adapter
own       as many rows an adapter, in the order of the slots: slices
shuffled  the same rows in another order: they are gathered and scattered in every layer
loop      one adapter after another on its own rows
"""

import numpy as np

import minilora as ml
from minilora.adapters.inject import AdaptedModel
from minilora.adapters.mixed import BASE
from minilora.adapters.resident import Resident

from .bases import FEW_LAYERS_8B, SMALL, Batch, in_nf4, random_base
from .device import free_memory, in_turns, tf32_products
from .measurements import Measurement

WAYS = ("base", "one", "own", "shuffled", "loop")
BASES = {"float32": {}, "nf4": {"quantization": in_nf4("float16"), "dtype": "float16"}}


def measure(shape, base, targets, rank, adapters, each, prompt, seconds):
    """A row for each number of rows an adapter, for a step of one token and for prompts."""
    tf32_products(False)
    model = AdaptedModel(random_base(shape, **BASES[base]))
    resident = Resident(adapters)
    config = model.complete(ml.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets))
    for number in range(adapters):
        put(model, resident, str(number), random_adapter(model, config, number))
    for count in each:
        free_memory()
        batches = batches_of(model, resident, adapters, count, prompt)
        reading = in_turns({way: lambda b=b: b.read(prompt) for way, b in batches.items()}, seconds, 1, 3)
        decoding = in_turns({way: b.decode for way, b in batches.items()}, seconds)
        for tokens, times in ((1, decoding), (prompt, reading)):
            yield {
                "base": base, "targets": targets, "adapters": adapters, "rows": adapters * count, "tokens": tokens,
                "ms": {way: 1e3 * float(np.median(t)) for way, t in times.items()},
                "quartiles": {way: [1e3 * float(q) for q in np.percentile(t, (25, 75))] for way, t in times.items()},
            }  # fmt: skip


def random_adapter(model, config, seed):  # an AdaptedModel -> an Adapter on the device that is in no layer
    import cupy

    adapter, rng = model.make(config), np.random.default_rng(seed)
    for p in adapter.own_parameters().values():
        p.assign(cupy.asarray(rng.standard_normal(p.shape, dtype=np.float32) * np.float32(0.01)))
    return adapter


def put(model, resident, name, adapter):
    """Into a slot, and into the layers for the loop."""
    layers = {path: model.wrap(path) for path in adapter.methods}
    assert resident.put(name, adapter.methods, layers)
    for path, method in adapter.methods.items():
        layers[path].adapters[name] = method


def batches_of(model, resident, adapters, count, prompt):  # -> {way: Batch}
    own = [str(number) for number in range(adapters) for _ in range(count)]
    shuffled = [own[i] for i in np.random.default_rng(0).permutation(len(own))]
    names = {"base": [BASE] * len(own), "one": ["0"] * len(own), "own": own, "shuffled": shuffled, "loop": own}
    return {way: Batch(model.model, None if way == "loop" else resident, names[way], prompt + 1) for way in WAYS}


def row(r):
    ms = r["ms"]
    return (f"{r['base']:7} {shown(r['targets']):10} {r['adapters']:>8} {r['rows']:>5} {r['tokens']:>6} "
            + " ".join(f"{ms[way]:8.2f}" for way in WAYS)
            + f" {ms['own'] / ms['base']:9.2f} {ms['own'] / ms['one']:8.2f} {ms['loop'] / ms['own']:9.2f}"
            f" {1e3 * r['rows'] * r['tokens'] / ms['own']:9.0f}")  # fmt: skip


def shown(targets):
    return targets if isinstance(targets, str) else ",".join(name.removesuffix("_proj") for name in targets)


TARGETS = (["q_proj", "v_proj"], "all-linear")
ADAPTERS = Measurement(
    measure,
    "base    targets    adapters  rows tokens  base ms   one ms   own ms shuffled  loop ms  own/base  own/one  loop/own"
    "  tokens/s",
    row,
    [
        {"shape": FEW_LAYERS_8B, "base": base, "targets": targets, "rank": 16, "adapters": 64, "each": [1, 4],
         "prompt": 128, "seconds": 1}
        for base in BASES for targets in TARGETS
    ],
    [{"shape": SMALL, "base": base, "targets": "all-linear", "rank": 4, "adapters": 4, "each": [1, 2], "prompt": 8,
      "seconds": 0.05} for base in BASES],
)  # fmt: skip
