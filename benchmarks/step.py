"""`python -m benchmarks.step`: a LoRA training step here and in torch + PEFT, interleaved in one run, and the floor.

Needs the `reference` extra. Every number of threads runs in a process of its own: BLAS reads it at start.
"""

import json
import os
import subprocess
import sys

import click

THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@click.command()
@click.option("--threads", default="1,2", show_default=True, help="Numbers of threads, equal for both sides.")
@click.option("--sizes", default="lesson,256,768", show_default=True)
@click.option("--repeats", default=15, show_default=True, type=click.IntRange(3))
@click.option("--here", is_flag=True, hidden=True, help="Measure in this process; print one JSON object a line.")
def main(threads, sizes, repeats, here):
    """Median milliseconds of a step (forward, backward, AdamW), and ratios."""
    if here:
        for case in cases(sizes.split(",")):
            print(json.dumps(measure(*case, int(threads), repeats)), flush=True)
        return
    print("model  size    targets     labels  thr   here ms  torch ms  floor ms  here/torch  here/floor   full ms"
          "  lora/full  loss diff")  # fmt: skip
    for n in threads.split(","):
        env = os.environ | {name: n for name in THREAD_VARIABLES}
        command = [sys.executable, "-m", __spec__.name, "--here", "--threads", n, "--sizes", sizes]
        with subprocess.Popen(
            [*command, "--repeats", str(repeats)], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as child:
            for line in child.stdout:
                r = json.loads(line)
                print(f"{r['model']:6} {r['size']:7} {r['targets']:11} {r['labels']:7} {n:>3} {r['here']:9.1f}"
                      f" {r['torch']:9.1f} {r['floor']:9.1f} {r['here'] / r['torch']:11.2f}"
                      f" {r['here'] / r['floor']:11.2f} {r['full']:9.1f} {r['here'] / r['full']:10.2f}"
                      f" {r['loss_difference']:10.1e}", flush=True)  # fmt: skip
        if child.returncode:
            raise click.ClickException(f"the run with {n} thread(s) failed; install the reference extra?")


def cases(sizes):  # -> (kind, size name, targets name, share of masked prompt)
    for size in sizes:
        for kind in ("llama", "gpt2"):
            for targets in ("qv", "all-linear"):
                yield kind, size, targets, 0.0
        if size != "lesson":
            yield "llama", size, "qv", 2 / 3


def measure(kind, size_name, targets_name, masked, threads, repeats):  # -> dict, times in milliseconds
    import numpy as np
    import torch

    from minilora.optim import AdamW

    from .floor import interleaved, make_floor, products_of
    from .models import QV, SIZES, adapted, batch, build

    torch.set_num_threads(threads)
    size = SIZES[size_name]
    targets = QV[kind] if targets_name == "qv" else "all-linear"
    model, theirs = adapted(kind, size, targets)
    full = build(kind, size).train()
    ids, labels = batch(size, masked)
    tensors = {"input_ids": torch.from_numpy(ids), "labels": torch.from_numpy(labels)}
    own = AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    own_full = AdamW(full.parameters(), lr=1e-4)
    torch_optimizer = torch.optim.AdamW([p for p in theirs.parameters() if p.requires_grad], lr=1e-4)
    losses = {}

    def step_of(model, optimizer):
        loss = model.loss(ids, labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    def here():
        losses["here"] = step_of(model, own)

    def there():
        loss = theirs(**tensors).loss
        loss.backward()
        torch_optimizer.step()
        torch_optimizer.zero_grad()
        losses["torch"] = loss.item()

    floor = make_floor(products_of(model, lambda: model.loss(ids, labels).backward()))
    for p in model.parameters():
        p.grad = None
    times = interleaved(
        {"here": here, "torch": there, "floor": floor, "full": lambda: step_of(full, own_full)}, repeats
    )
    return {
        "model": kind, "size": size_name, "targets": targets_name, "labels": f"{1 - masked:.0%}",
        "loss_difference": float(np.abs(losses["here"] - losses["torch"])),
        **{name: seconds * 1e3 for name, seconds in times.items()},
    }  # fmt: skip


if __name__ == "__main__":
    main()
