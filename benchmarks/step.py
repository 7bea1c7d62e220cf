"""`python -m benchmarks.step`: here and transformers + PEFT, interleaved in one run: steps, forwards, generation.

Needs the `reference` extra. Each number of threads runs in its own process, because BLAS reads it at start. One thread
is measured in CPU time, several by the clock. The command prints the median of the ratios of all rounds, and the range
of the middle half of them.

`kernel` is the code that NumPy's OpenBLAS chose for this processor; `--avx2` holds both sides to AVX2. A step labelled
33% is an instruction batch: two thirds of every row are masked prompt, and the vocabulary has 8,192 tokens. minilora
computes no logits for masked positions; transformers computes all, except in "33%, both", which says how many to keep.

`--method dora,vera` measures a step of these methods instead, beside LoRA's here and beside PEFT's (method_step.py).
"""

import json
import subprocess
import sys
import tempfile

import click

from minilora.adapters.registry import NAMES as METHODS
from minilora.launcher import cores

from .method_step import measure_method
from .models import SIZES
from .options import OneLine, Refused, Several, environment, need_reference

HEADS = {
    "step": "model  size    targets     labels    thr  kernel      here ms  torch ms  floor ms  here/torch  middle half"
    "  here/floor   tok/s  full tok/s  lora/full  loss diff",
    "forward": "model  size    thr  kernel    forward ms  torch ms  here/torch  middle half",
    "generation": "model  size    thr  kernel    batch  tokens/s  transformers  here/theirs  middle half",
    "method": "method         size    thr  kernel      here ms  torch ms  here/lora  middle half  here/torch"
    "  lora/torch   MiB  lora MiB  loss diff",
}


@click.command(cls=OneLine)
@click.option(
    "--threads",
    default="1,2",
    show_default=True,
    type=Several(),
    help="Threads of both sides, one number after the other.",
)
@click.option("--sizes", default="lesson,256,768", show_default=True, type=Several(SIZES))
@click.option("--repeats", default=15, show_default=True, type=click.IntRange(3))
@click.option("--what", default="step,forward,generation", show_default=True, type=Several(HEADS))
@click.option("--method", "methods", type=Several(METHODS), help="Measure a step of these methods instead.")
@click.option("--avx2", is_flag=True, help="Hold both sides to AVX2, as on a processor without AVX-512.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line instead of tables.")
@click.option("--here", is_flag=True, hidden=True, help="Measure in this process.")
def main(threads, sizes, repeats, what, methods, avx2, as_json, here):
    """Median times and ratios."""
    what = ["method"] if methods else what
    if here:
        n = int(threads[0])
        for kind in what:
            for case in cases(kind, sizes, methods or METHODS):
                print(json.dumps({"what": kind, "threads": n, "kernel": kernel(), "rounds": repeats}
                                 | MEASURES[kind](*case, n, repeats)), flush=True)  # fmt: skip
        return
    if (most := max(map(int, threads))) > cores():
        raise Refused(f"--threads: {most}, but there are {cores()} cores")
    need_reference()
    for kind in what:
        if not as_json:
            print(HEADS[kind])
        for n in threads:
            for line in measured(kind, n, sizes, methods or METHODS, repeats, avx2):
                print(line.strip() if as_json else ROWS[kind](json.loads(line)), flush=True)


def measured(kind, threads, sizes, methods, repeats, avx2):
    """The JSON lines that a new process prints."""
    command = [sys.executable, "-m", __spec__.name, "--here", "--what", kind, "--threads", threads]
    command += ["--sizes", ",".join(sizes), "--repeats", str(repeats)]
    command += ["--method", ",".join(methods)] if kind == "method" else []
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        with subprocess.Popen(
            command, env=environment(threads, avx2), stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8"
        ) as child:
            yield from child.stdout
        errors.seek(0)
        if child.returncode:
            why = errors.read().strip().splitlines() or [f"code {child.returncode}"]
            raise Refused(f"the run with {threads} thread(s) failed: {why[-1][:200]}")


def kernel():  # -> which code OpenBLAS chose for this processor: "Haswell" (AVX2), "SkylakeX" (AVX-512), ...
    import numpy  # noqa: F401  loads its OpenBLAS
    from threadpoolctl import threadpool_info

    return next((x["architecture"] for x in threadpool_info() if x.get("internal_api") == "openblas"), "other")


def cases(what, sizes, methods):  # -> arguments of the measurement
    for size in sizes:
        if what == "method":
            yield from ((method, size) for method in methods)
            continue
        for kind in ("llama", "gpt2"):
            if what == "step":
                yield from ((kind, size, targets, 0.0, False) for targets in ("qv", "all-linear"))
            elif what == "forward":
                yield kind, size
            else:
                yield from ((kind, size, rows) for rows in (1, 8))
        if what == "step" and size != "lesson":
            yield "llama", size, "qv", 2 / 3, False
            yield "llama", size, "qv", 2 / 3, True


def setting(kind, size_name, targets, threads, masked=0.0):  # -> Size, model here, model there
    from dataclasses import replace

    import torch

    from .models import QV, SIZES, adapted

    torch.set_num_threads(threads)
    size = replace(SIZES[size_name], vocab=8192) if masked else SIZES[size_name]
    return size, *adapted(kind, size, QV[kind] if targets == "qv" else "all-linear")


def measure_step(kind, size_name, targets, masked, both, threads, repeats):  # -> dict, times in milliseconds
    """masked: the part of every row without labels; both: neither side computes logits for it."""
    import torch

    from minilora.training.optim import AdamW

    from .floor import interleaved, make_floor, products_of
    from .models import batch, build

    size, model, theirs = setting(kind, size_name, targets, threads, masked)
    full = build(kind, size).train()
    ids, labels = batch(size, masked)
    tensors = {"input_ids": torch.from_numpy(ids), "labels": torch.from_numpy(labels)}
    optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    full_optimizer = AdamW(full.parameters(), lr=1e-4)
    torch_optimizer = torch.optim.AdamW([p for p in theirs.parameters() if p.requires_grad], lr=1e-4)
    losses = {}

    def step_of(model, optimizer):
        loss = model.loss(ids, labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    def here():
        losses["here"] = step_of(model, optimizer)

    def their_loss():
        if not both:
            return theirs(**tensors, use_cache=False).loss
        n = int((labels[0] != -100).sum())  # the last n positions have labels; the one before predicts the first
        logits = theirs(input_ids=tensors["input_ids"], logits_to_keep=n + 1, use_cache=False).logits[:, :-1]
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), tensors["labels"][:, -n:].flatten())

    def in_torch():
        loss = their_loss()
        loss.backward()
        torch_optimizer.step()
        torch_optimizer.zero_grad()
        losses["torch"] = loss.item()

    floor = make_floor(products_of(model, lambda: model.loss(ids, labels).backward()))
    for p in model.parameters():
        p.grad = None
    functions = {"here": here, "torch": in_torch, "floor": floor, "full": lambda: step_of(full, full_optimizer)}
    return {
        "model": kind, "size": size_name, "targets": targets, "tokens": ids.size,
        "labels": f"{1 - masked:.0%}" + (", both" if both else ""),
        "loss_difference": abs(losses_after(functions, losses)),
        **ratios(interleaved(functions, repeats, threads)),
    }  # fmt: skip


def losses_after(functions, losses, steps=3):  # -> float
    """The difference of the losses of both sides after some steps: near 0 when they do equal work."""
    for _ in range(steps):
        functions["here"]()
        functions["torch"]()
    return losses["here"] - losses["torch"]


def measure_forward(kind, size_name, threads, repeats):
    import torch

    from minilora.autograd import no_grad

    from .floor import interleaved
    from .models import batch

    size, model, theirs = setting(kind, size_name, "qv", threads)
    model.eval(), theirs.eval()
    ids, _ = batch(size)
    tensor = torch.from_numpy(ids)

    def here():
        with no_grad():
            model(ids)

    def in_torch():
        with torch.no_grad():
            theirs(input_ids=tensor)

    times = interleaved({"here": here, "torch": in_torch}, repeats, threads)
    return {"model": kind, "size": size_name, **ratios(times)}


def measure_generation(kind, size_name, rows, threads, repeats, prompt=16, new=48):
    import numpy as np
    import torch

    from .floor import interleaved

    size, model, theirs = setting(kind, size_name, "qv", threads)
    model.eval(), theirs.eval()
    ids = np.random.default_rng(3).integers(0, size.vocab, (rows, prompt))
    tensor = torch.from_numpy(ids)
    options = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False, "pad_token_id": 0}

    def in_torch():
        theirs.generate(input_ids=tensor, attention_mask=torch.ones_like(tensor), **options)

    times = interleaved({"here": lambda: model.generate(ids, new), "torch": in_torch}, repeats, threads)
    return {"model": kind, "size": size_name, "rows": rows, "generated": rows * new, **ratios(times)}


def ratios(times):  # {name: seconds of every round} -> median milliseconds, and medians of the ratios to "here"
    import numpy as np

    result = {name: float(np.median(t)) * 1e3 for name, t in times.items()}
    here = times["here"]
    for name, t in times.items():
        if name != "here":
            result[f"here/{name}"] = float(np.median(here / t))
    return result | {"quartiles": np.quantile(here / times["torch"], (0.25, 0.75)).tolist()}


def middle_half(quartiles):  # the range of the ratio in the middle half of the rounds
    return "-".join(f"{q:.2f}" for q in quartiles)


def step_row(r):
    lora, full = (r["tokens"] / r[name] * 1e3 for name in ("here", "full"))
    return (f"{r['model']:6} {r['size']:7} {r['targets']:11} {r['labels']:9} {r['threads']:>3}  {r['kernel']:9}"
            f" {r['here']:9.1f} {r['torch']:9.1f} {r['floor']:9.1f} {r['here/torch']:11.2f}"
            f" {middle_half(r['quartiles']):>12} {r['here/floor']:11.2f}"
            f" {lora:7.0f} {full:11.0f} {r['here/full']:10.2f} {r['loss_difference']:10.1e}")  # fmt: skip


def forward_row(r):
    return (f"{r['model']:6} {r['size']:7} {r['threads']:>3}  {r['kernel']:9} {r['here']:10.1f} {r['torch']:9.1f}"
            f" {r['here/torch']:11.2f} {middle_half(r['quartiles']):>12}")  # fmt: skip


def generation_row(r):
    speed = {name: r["generated"] / r[name] * 1e3 for name in ("here", "torch")}
    return (f"{r['model']:6} {r['size']:7} {r['threads']:>3}  {r['kernel']:9} {r['rows']:5} {speed['here']:9.0f}"
            f" {speed['torch']:13.0f} {1 / r['here/torch']:12.2f}"
            f" {middle_half([1 / q for q in reversed(r['quartiles'])]):>12}")  # fmt: skip


def method_row(r):
    return (f"{r['method']:14} {r['size']:7} {r['threads']:>3}  {r['kernel']:9} {r['here']:9.1f} {r['torch']:9.1f}"
            f" {r['here/lora']:10.2f} {middle_half(r['quartiles']):>12} {r['here/torch']:11.2f} {r['lora/torch']:11.2f}"
            f" {r['mib']:5.0f} {r['lora_mib']:9.0f} {r['loss_difference']:10.1e}")  # fmt: skip


MEASURES = {
    "step": measure_step,
    "forward": measure_forward,
    "generation": measure_generation,
    "method": measure_method,
}
ROWS = {"step": step_row, "forward": forward_row, "generation": generation_row, "method": method_row}

if __name__ == "__main__":
    main()
