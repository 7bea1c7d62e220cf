"""A training step here (CuPy) and in PyTorch eager + PEFT, on the same device, in turns."""

import time

import numpy as np

from ..models import Size
from .device import in_turns
from .measurements import Measurement


def measure(width, layers, vocab, rows, tokens, seconds):
    """A row for each precision: float32, and float32 with the products in TF32."""
    for precision in ("float32", "tf32"):
        yield {"width": width, "precision": precision} | one(
            Size(width, layers, width // 64, width // 64, vocab, rows, tokens), precision == "tf32", seconds
        )


def one(size, tf32, seconds):  # -> dict
    import cupy
    import torch

    from minilora.course.lab.products import multiplications
    from minilora.training.optim import AdamW

    from ..floor import products_of
    from ..models import adapted, batch

    tf32_products(tf32)
    model, theirs = adapted("llama", size, ["q_proj", "v_proj"])
    ids, labels = batch(size)
    products = products_of(model, lambda: model.loss(ids[:1, :64], labels[:1, :64]).backward())
    # of every layer; attention grows faster than the number of tokens, so its few per cent are counted too low
    work = 2 * multiplications(products) * ids.size / 64
    for p in model.parameters():
        p.grad = None
    model.to("cuda")
    theirs.to("cuda")
    optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    torch_optimizer = torch.optim.AdamW([p for p in theirs.parameters() if p.requires_grad], lr=1e-4)
    tensors = {"input_ids": torch.from_numpy(ids).cuda(), "labels": torch.from_numpy(labels).cuda()}

    def here():
        losses["here"] = model.loss(ids, labels)
        losses["here"].backward()
        optimizer.step()
        optimizer.zero_grad()

    def in_torch():
        losses["torch"] = theirs(**tensors, use_cache=False).loss
        losses["torch"].backward()
        torch_optimizer.step()
        torch_optimizer.zero_grad()

    losses = {}
    times = in_turns({"here": here, "torch": in_torch}, seconds)
    here_mib = cupy.get_default_memory_pool().total_bytes() / 2**20  # before the matrices of `matrix_rate`
    difference = abs(losses["here"].item() - losses["torch"].item())
    here_ms, torch_ms = (float(np.median(times[name])) * 1e3 for name in ("here", "torch"))
    return {
        "here": here_ms, "torch": torch_ms, "tokens": ids.size, "rate": work / here_ms * 1e3,
        "card_rate": matrix_rate(cupy, size.width), "loss_difference": difference,
        "here_mib": here_mib, "torch_mib": torch.cuda.max_memory_reserved() / 2**20,
    }  # fmt: skip


def tf32_products(on):
    """Let CuPy and torch multiply float32 matrices in TF32, or not. CuPy reads CUPY_TF32 only at its first product."""
    import cupy
    import torch

    TF32, DEFAULT = 7, 1  # COMPUTE_TYPE_TF32 and COMPUTE_TYPE_DEFAULT in cupy/_core/_routines_linalg.pyx
    cupy._core.set_compute_type("float32", TF32 if on else DEFAULT)
    torch.backends.cuda.matmul.allow_tf32 = on


def matrix_rate(cupy, width, repeats=10):  # -> FLOP/s of one square product on this card, in the precision at hand
    n = max(4096, width)
    a = np.random.default_rng(0).standard_normal((n, n), dtype=np.float32)
    a = cupy.asarray(a)  # numbers, not ones: of these a card makes products faster than it can with weights
    for i in range(repeats + 2):
        if i == 2:
            cupy.cuda.Device().synchronize()
            began = time.perf_counter()
        cupy.matmul(a, a)
    cupy.cuda.Device().synchronize()
    return repeats * 2 * n**3 / (time.perf_counter() - began)


def row(r):
    return (f"{r['width']:>5}  {r['precision']:7} {r['here']:8.1f} {r['torch']:9.1f} {r['here'] / r['torch']:11.2f}"
            f" {r['tokens'] / r['here'] * 1e3:9.0f} {r['rate'] / 1e12:8.1f} {r['rate'] / r['card_rate']:13.0%}"
            f" {r['here_mib']:9.0f} {r['torch_mib']:10.0f} {r['loss_difference']:10.1e}")  # fmt: skip


STEP = Measurement(
    measure,
    "width  type     here ms  torch ms  here/torch  tokens/s  TFLOP/s  of the card's  here MiB  torch MiB  loss diff",
    row,
    [{"width": w, "layers": 4, "vocab": 8192, "rows": 4, "tokens": 512, "seconds": 5} for w in (768, 2048, 4096)],
    [{"width": 128, "layers": 2, "vocab": 512, "rows": 2, "tokens": 64, "seconds": 0.2}],
)
