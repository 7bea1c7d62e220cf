"""`python -m benchmarks.gpu`: a LoRA step here (CuPy) and in PyTorch eager + PEFT, on the same CUDA device.

Needs a device, CuPy and the `reference` extra with a CUDA build of PyTorch. Each width and precision runs in its own
process, because CuPy reads CUPY_TF32 at start. Each side is timed from an idle device to an idle device.
"""

import json
import os
import sys
import time

import click

from .options import OneLine, Refused, Several, need_reference, output_of

WIDTHS = "768,2048,4096"


@click.command(cls=OneLine)
@click.option("--widths", default=WIDTHS, show_default=True, type=Several(WIDTHS.split(",")))
@click.option("--repeats", default=10, show_default=True, type=click.IntRange(3))
@click.option("--here", nargs=2, hidden=True, help="Measure one width and precision in this process.")
def main(widths, repeats, here):
    """Median milliseconds, ratios, tokens/s, share of the card's measured matrix rate, memory."""
    if here:
        print(json.dumps(measure(int(here[0]), here[1] == "tf32", repeats)))
        return
    need_reference()
    require_device()
    print("width  type     here ms  torch ms  here/torch  tokens/s  TFLOP/s  of the card's  here MiB  torch MiB"
          "  loss diff")  # fmt: skip
    for width in widths:
        for precision in ("float32", "tf32"):
            command = [sys.executable, "-m", __spec__.name, "--repeats", str(repeats), "--here", width, precision]
            env = os.environ | {"CUPY_TF32": str(int(precision == "tf32"))}
            r = json.loads(output_of(command, env).splitlines()[-1])
            print(f"{width:>5}  {precision:7} {r['here']:8.1f} {r['torch']:9.1f} {r['here'] / r['torch']:11.2f}"
                  f" {r['tokens'] / r['here'] * 1e3:9.0f} {r['rate'] / 1e12:8.1f} {r['rate'] / r['card']:13.0%}"
                  f" {r['here_mib']:9.0f} {r['torch_mib']:10.0f} {r['loss_difference']:10.1e}", flush=True)  # fmt: skip


def require_device():
    """Raises Refused in one line where CuPy sees no device."""
    from minilora.backend import require_cupy
    from minilora.errors import ConfigError

    try:
        require_cupy("cuda")
    except ConfigError as error:
        raise Refused(str(error)) from None


def measure(width, tf32, repeats):
    import cupy
    import numpy as np
    import torch

    from minilora.course.lab.products import multiplications
    from minilora.training.optim import AdamW

    from .floor import products_of
    from .models import Size, adapted, batch

    torch.backends.cuda.matmul.allow_tf32 = tf32
    size = Size(width, 4, width // 64, width // 64, 8192, 4, 512)
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
        loss = model.loss(ids, labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        cupy.cuda.Device().synchronize()
        return loss

    def in_torch():
        loss = theirs(**tensors, use_cache=False).loss
        loss.backward()
        torch_optimizer.step()
        torch_optimizer.zero_grad()
        torch.cuda.synchronize()
        return loss

    times, losses = {"here": [], "torch": []}, {}
    for i in range(repeats + 3):
        for name, step in (("here", here), ("torch", in_torch)):
            began = time.perf_counter()
            loss = step()
            if i >= 3:  # compiled and warm
                times[name].append(time.perf_counter() - began)
            losses[name] = loss.item()
    here_mib = cupy.get_default_memory_pool().total_bytes() / 2**20  # before the matrices of `matrix_rate`
    here_ms, torch_ms = (float(np.median(times[name])) * 1e3 for name in ("here", "torch"))
    return {
        "here": here_ms, "torch": torch_ms, "tokens": ids.size, "rate": work / here_ms * 1e3,
        "card": matrix_rate(cupy, width), "loss_difference": abs(losses["here"] - losses["torch"]),
        "here_mib": here_mib, "torch_mib": torch.cuda.max_memory_reserved() / 2**20,
    }  # fmt: skip


def matrix_rate(cupy, width, repeats=10):  # -> FLOP/s of one square product on this card, in the precision at hand
    import numpy as np

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


if __name__ == "__main__":
    main()
