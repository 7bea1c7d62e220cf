"""A training step here (CuPy) and in PyTorch eager + PEFT, on the same device, in turns.

LoRA on q_proj and v_proj, LoRA on every linear layer, and full fine-tuning; each in float32, with the products in TF32,
and in mixed precision: float16 with a loss scale, here training/precision.py, there autocast and GradScaler. Both sides
are on the device at the same time: full fine-tuning at width 4096 needs 14 GB of weights, gradients and moments a side.
"""

import dataclasses

from minilora.backend import array_module
from minilora.counting.architectures.catalog import from_config
from minilora.counting.count import count
from minilora.counting.flops import flops
from minilora.files.config_json import fields_to_json
from minilora.training.optim import AdamW
from minilora.training.precision import precision_named

from ..models import Size, batch, config_of
from ..step import middle_half, ratios
from .device import free_memory, in_turns, peak_here, peak_there, tf32_products
from .measurements import Measurement
from .rates import PRECISIONS, matrix_rate
from .sides import both, random_weights, torch_device

TRAINED = {"q,v": ["q_proj", "v_proj"], "all-linear": "all-linear", "full": None}  # name -> the layers with an adapter


def measure(width, layers, heads, vocab, rows, tokens, square, seconds):
    """A row for each way to train and each precision. Each pair of models begins with the same values."""
    size = Size(width, layers, heads, heads, vocab, rows, tokens)
    weights = random_weights(config_of("llama", size))
    rates = {precision: matrix_rate(precision, square) for precision in PRECISIONS}
    for trained in TRAINED:
        work = operations(size, trained)
        for precision in PRECISIONS:
            free_memory()
            tf32_products(precision == "tf32")
            figures = one(size, weights, trained, precision == "float16", seconds)
            rate = work / figures["here"] * 1e3
            yield {
                "width": width, "trained": trained, "precision": precision, "tokens": size.batch * size.tokens,
                **figures, "rate": rate, "share": rate / rates[precision],
            }  # fmt: skip


def operations(size, trained):  # -> floating-point operations of the products of a step
    architecture = from_config(fields_to_json(dataclasses.asdict(config_of("llama", size))), "model")
    counted = flops(count(architecture, "q_proj,v_proj" if trained == "q,v" else "all-linear", 8), size.tokens)
    return size.batch * size.tokens * (counted.full if trained == "full" else counted.with_lora)


def one(size, weights, trained, half, seconds):  # -> dict, times in milliseconds
    model, theirs = both(size, weights, TRAINED[trained])
    ids, labels = batch(size)
    here, there = step_here(model, ids, labels, half), step_there(theirs, ids, labels, half)
    first = here(), there()
    times = in_turns({"here": here, "torch": there}, seconds)
    peaks = {"here_mib": peak_here(here) / 2**20, "torch_mib": peak_there(there) / 2**20}
    losses = here(), there()
    return {
        **ratios(times), "rounds": len(times["here"]), **peaks, "loss": losses[1].item(),
        "first_difference": abs(first[0].item() - first[1].item()),
        "loss_difference": abs(losses[0].item() - losses[1].item()),
    }  # fmt: skip


def step_here(model, ids, labels, half):  # -> function that makes a step and returns the loss
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = AdamW(params, lr=1e-4)
    precision = precision_named("float16" if half else "float32")

    def step():
        with precision.computing(model):
            loss = model.loss(ids, labels)
            loss.backward(array_module(loss.data).full_like(loss.data, precision.scale))
        if precision.unscale_(params):
            optimizer.step()
        optimizer.zero_grad()
        return loss

    return step


def step_there(theirs, ids, labels, half):  # -> the same in torch
    import torch

    device = torch_device()
    tensors = {"input_ids": torch.from_numpy(ids).to(device), "labels": torch.from_numpy(labels).to(device)}
    optimizer = torch.optim.AdamW([p for p in theirs.parameters() if p.requires_grad], lr=1e-4)
    scaler = torch.amp.GradScaler(device, enabled=half)

    def step():
        with torch.autocast(device, torch.float16, enabled=half):
            loss = theirs(**tensors, use_cache=False).loss
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        return loss.detach()

    return step


def row(r):
    return (f"{r['width']:>5}  {r['trained']:10} {r['precision']:8} {r['here']:8.1f} {r['torch']:9.1f}"
            f" {r['here/torch']:11.2f} {middle_half(r['quartiles']):>12} {r['tokens'] / r['here'] * 1e3:9.0f}"
            f" {r['rate'] / 1e12:8.1f} {r['share']:13.0%} {r['here_mib']:9.0f} {r['torch_mib']:10.0f}"
            f" {r['loss_difference']:10.1e}")  # fmt: skip


STEP = Measurement(
    measure,
    "width  trained    type      here ms  torch ms  here/torch  middle half  tokens/s  TFLOP/s  share of rate"
    "  here MiB  torch MiB  loss diff",
    row,
    [
        {"width": width, "layers": 4, "heads": width // 64, "vocab": 8192, "rows": 4, "tokens": 512, "square": 8192,
         "seconds": 3}
        for width in (768, 4096, 2048)  # first the two that have targets
    ],
    [{"width": 64, "layers": 2, "heads": 4, "vocab": 128, "rows": 2, "tokens": 32, "square": 128, "seconds": 0.1}],
)  # fmt: skip
