"""A linear layer in 4 and 8 bits at the shapes of an 8B model beside dense products, and a QLoRA step.

LAYERS   forward, and forward with backward to x, of one layer, and the reading of its weight, which is a part of both;
         beside it a dense one of torch in bfloat16, and that of bitsandbytes where it is installed
QLORA    a step of LoRA on a base in NF4 and on the same base in float32
"""

import copy
import importlib.util
from functools import partial

import numpy as np

import minilora as ml
from minilora import ops
from minilora.autograd import Tensor, no_grad
from minilora.backend import to_host
from minilora.quantization.int8 import Int8
from minilora.quantization.linear import stored_linear
from minilora.quantization.nf4 import FourBit
from minilora.quantization.stored import Stored

from .bases import FEW_LAYERS_8B, SMALL, bytes_of, in_nf4, random_base
from .device import free_memory, in_turns, peak_here, tf32_products
from .measurements import Measurement
from .rates import PRECISIONS, copy_rates, matrix_rate
from .sides import torch_device
from .step import step_here

FORMATS = {"nf4": FourBit.of, "nf4 double": partial(FourBit.of, double=True), "int8": Int8.of}
SHAPES = [(4096, 4096), (14336, 4096), (4096, 14336), (1024, 4096)]  # (out, in): q and o, gate and up, down, k and v


def layers(shapes, rows, square, mib, seconds):
    """A row for each shape, number of rows of x, format and precision."""
    rates = {precision: matrix_rate(precision, square) for precision in PRECISIONS}
    rates["bfloat16"], bandwidth = rates["float16"], copy_rates(mib)["device_copy"]
    for n_out, n_in in shapes:
        free_memory()
        weights, same = stored_weights(n_out, n_in)
        reading = in_turns(readers_of(weights), seconds, calls=5)
        for n in rows:
            sides = sides_of(weights, n)
            timed = {(side, 0): forward for side, (forward, _) in sides.items()}
            timed |= {(side, 1): both for side, (_, both) in sides.items()}
            times = in_turns(timed, seconds, calls=5 if n < 64 else 1)
            for name, precision in sides:
                weight = weight_bytes(weights, name, precision)
                forward, both = (float(np.median(times[(name, precision), i])) for i in (0, 1))
                moved = weight + (2 if precision == "bfloat16" else 4) * n * (n_in + n_out)
                yield {
                    "out": n_out, "in": n_in, "rows": n, "format": name, "precision": precision,
                    "forward": forward * 1e3, "both": both * 1e3,
                    "read": 1e3 * float(np.median(reading[name, kind_of(precision)])) if name in FORMATS else None,
                    "quartiles": [1e3 * float(q) for q in np.percentile(times[(name, precision), 0], (25, 75))],
                    "bytes": weight, "rate_share": 2 * n * n_in * n_out / forward / rates[precision],
                    "bandwidth_share": moved / forward / bandwidth, "same_bits": same.get(name),
                }  # fmt: skip


def weight_bytes(weights, name, precision):  # -> int
    stored = weights["nf4" if name == "bitsandbytes" else "dense" if name == "torch" else name]
    return stored.nbytes // 2 if stored is weights["dense"] and precision in ("float16", "bfloat16") else stored.nbytes


def stored_weights(n_out, n_in):  # -> {name: array or Stored}, {name: whether the host reads the same numbers}
    import cupy

    drawn = np.random.default_rng(0).standard_normal((n_out, n_in), dtype=np.float32) * np.float32(0.02)
    W = cupy.asarray(drawn)
    weights = {"dense": W} | {name: store(W) for name, store in FORMATS.items()}
    return weights, {name: reads_the_same(weights[name]) for name in FORMATS}


def reads_the_same(stored) -> bool:
    """Whether the device reads the numbers of the host to the bit, as float32 and as float16."""
    here = copy.copy(stored)
    here.move("cpu")
    n = len(next(iter(here.blocks()))[1])
    return all(
        np.array_equal(to_host(stored.rows(0, n, kind)).astype(np.float32), here.rows(0, n, kind))
        for kind in ("float32", "float16")
    )


def kind_of(precision):  # -> what a stored weight is read as
    return "float16" if precision == "float16" else "float32"


def readers_of(weights):  # -> {(format, kind): function that reads the whole weight}
    def reader(stored, kind):
        return lambda: [block.shape for _, block in stored.blocks(kind)]

    return {(name, kind): reader(weights[name], kind) for name in FORMATS for kind in ("float32", "float16")}


def sides_of(weights, n):  # -> {(format, precision): (forward, forward and backward)}
    rng, (n_out, n_in) = np.random.default_rng(1), weights["dense"].shape
    x, g = (rng.standard_normal((n, size), dtype=np.float32) for size in (n_in, n_out))
    sides = {
        (name, precision): side_here(weight, x, g, precision)
        for name, weight in weights.items()
        for precision in PRECISIONS
    }
    sides["torch", "bfloat16"] = side_there(dense_there(weights["dense"]), x, g)
    if importlib.util.find_spec("bitsandbytes") is not None:
        sides["bitsandbytes", "bfloat16"] = side_there(bitsandbytes_layer(weights["dense"]), x, g)
    return sides


def side_here(weight, x, g, precision):
    import cupy

    x, g, kind = cupy.asarray(x), cupy.asarray(g), kind_of(precision)
    if not isinstance(weight, Stored):
        dense = Tensor(weight.astype(kind, copy=False))

    def multiply(x):
        if isinstance(weight, Stored):
            return stored_linear(x, weight, compute=kind)
        return ops.linear(x, dense)

    def forward():
        tf32_products(precision == "tf32")
        with no_grad():
            multiply(Tensor(x))

    def both():
        tf32_products(precision == "tf32")
        multiply(Tensor(x, requires_grad=True)).backward(g)

    return forward, both


def side_there(multiply, x, g):
    import torch

    x, g = (torch.from_numpy(a).to(torch_device(), torch.bfloat16) for a in (x, g))
    to_learn = x.clone().requires_grad_()

    def forward():
        with torch.no_grad():
            multiply(x)

    def both():
        to_learn.grad = None
        multiply(to_learn).backward(g)

    return forward, both


def dense_there(W):  # -> function x -> x Wᵀ
    import torch

    weight = torch.from_numpy(to_host(W)).to(torch_device(), torch.bfloat16)
    return lambda x: torch.nn.functional.linear(x, weight)


def bitsandbytes_layer(W):
    import bitsandbytes
    import torch

    layer = bitsandbytes.nn.Linear4bit(
        W.shape[1], W.shape[0], bias=False, compute_dtype=torch.bfloat16, quant_type="nf4"
    )
    layer.load_state_dict({"weight": torch.from_numpy(to_host(W))})
    return layer.to(torch_device())


def layer_row(r):
    same = {None: "", True: "same", False: "OTHER"}[r["same_bits"]]
    read = "" if r["read"] is None else f"{r['read']:.3f}"
    return (f"{r['out']:>6} {r['in']:>6} {r['rows']:>5}  {r['format']:12} {r['precision']:9} {r['forward']:10.3f}"
            f" {r['both']:15.3f} {read:>7} {r['bytes'] / 2**20:7.1f} {r['rate_share']:8.0%}"
            f" {r['bandwidth_share']:12.0%}  {same:5}")  # fmt: skip


LAYERS = Measurement(
    layers,
    "   out     in  rows  format       precision forward ms  and backward ms read ms     MiB  of rate of bandwidth"
    " bits ",
    layer_row,
    [{"shapes": [shape], "rows": [1, 8, 2048], "square": 8192, "mib": 1024, "seconds": 1} for shape in SHAPES],
    [{"shapes": [(256, 128), (128, 70)], "rows": [1, 8], "square": 256, "mib": 4, "seconds": 0.05}],
)


def qlora(shape, rank, rows, tokens, seconds):
    """A row for each precision: both bases are on the device and take turns."""
    ids = np.random.default_rng(2).integers(0, shape["vocab_size"], (rows, tokens))
    for precision in PRECISIONS:
        free_memory()
        half = precision == "float16"
        tf32_products(precision == "tf32")
        bases = {
            "float32": random_base(shape),
            "nf4": random_base(shape, in_nf4("float16" if half else "float32")),
        }
        sizes = {name: bytes_of(base.parameters()) / 2**20 for name, base in bases.items()}
        lora = ml.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", init_lora_weights=False)
        steps = {name: step_here(ml.get_peft_model(base, lora).train(), ids, ids, half) for name, base in bases.items()}
        first = {name: step().item() for name, step in steps.items()}
        times = in_turns(steps, seconds)
        ms = {name: 1e3 * float(np.median(t)) for name, t in times.items()}
        yield {
            "layers": shape["num_hidden_layers"], "precision": precision, "tokens": ids.size,
            "quartiles": {name: [1e3 * float(q) for q in np.percentile(t, (25, 75))] for name, t in times.items()},
            "ms": ms, "nf4/float32": ms["nf4"] / ms["float32"], "base_mib": sizes, "first_loss": first,
            "step_mib": {name: step_memory(step) / 2**20 for name, step in steps.items()},
        }  # fmt: skip


def step_memory(step) -> int:
    """The most bytes that a step takes beside what is on the device before it."""
    import cupy

    before = cupy.get_default_memory_pool().used_bytes()
    return peak_here(step) - before


def qlora_row(r):
    return (f"{r['layers']:>6}  {r['precision']:9} {r['ms']['float32']:10.1f} {r['ms']['nf4']:7.1f}"
            f" {r['nf4/float32']:6.2f} {1e3 * r['tokens'] / r['ms']['nf4']:9.0f} {r['base_mib']['float32']:12.0f}"
            f" {r['base_mib']['nf4']:7.0f} {r['step_mib']['float32']:12.0f} {r['step_mib']['nf4']:7.0f}"
            f" {r['first_loss']['float32']:13.4f} {r['first_loss']['nf4']:7.4f}")  # fmt: skip


QLORA = Measurement(
    qlora,
    "layers  precision float32 ms  nf4 ms  ratio  tokens/s  base float32     nf4 step float32     nf4  loss float32"
    "     nf4",
    qlora_row,
    [{"shape": FEW_LAYERS_8B, "rank": 16, "rows": 4, "tokens": 512, "seconds": 5}],
    [{"shape": SMALL, "rank": 4, "rows": 2, "tokens": 32, "seconds": 0.1}],
)
