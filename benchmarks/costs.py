"""`python -m benchmarks.costs`: how a step's time grows with rank, width, depth and sequence; what switching costs.

minilora alone, one thread, CPU time. Draws benchmarks/figures/costs.png.
"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

import minilora as ml
from minilora.display.plots import COLOURS, figure

from .floor import interleaved
from .models import SIZES, batch, build
from .options import OneLine, Refused, environment

FIGURE = Path(__file__).parent / "figures" / "costs.png"
START = replace(SIZES["lesson"], batch=4)
SWEEPS = {
    "rank": (1, 4, 16, 64),
    "width": (64, 128, 256, 512),
    "layers": (1, 2, 4, 8),
    "tokens": (32, 64, 128, 256, 512),
}
MARKERS = ("o", "s", "^", "D")


@click.command(cls=OneLine)
@click.option("--repeats", default=7, show_default=True, type=click.IntRange(3))
@click.option(
    "--figure", "path", default=FIGURE, type=click.Path(path_type=Path), help="Write the figure to this file instead."
)
def main(repeats, path):
    """Milliseconds of a LoRA step (all-linear), the exponent of each growth; switching and merging."""
    if path.is_dir() or not path.absolute().parent.parent.is_dir():
        raise Refused(f"--figure {path}: expected a file")
    if (env := environment(1)) != dict(os.environ):  # NumPy has read it already, so this needs a new process
        command = [sys.executable, "-m", __spec__.name, *sys.argv[1:]]
        sys.exit(subprocess.run(command, env=env, check=False).returncode)
    curves = {name: sweep(name, repeats) for name in SWEEPS}
    for name, (sizes, ms) in curves.items():
        points = "  ".join(f"{n}: {t:.1f}" for n, t in zip(sizes, ms, strict=True))
        print(f"{name:7} ms: {points}   growth ~ {name}^{exponent(sizes, ms):.2f}", flush=True)
    for size_name in ("lesson", "768"):
        print_life(size_name, repeats)
    path.parent.mkdir(exist_ok=True)
    draw(curves, path)


def sweep(name, repeats):  # -> values, milliseconds
    functions = {}
    for value in SWEEPS[name]:
        size = START if name == "rank" else replace(START, **{name: value})
        functions[value] = step_function(size, value if name == "rank" else 8)
    times = interleaved(functions, repeats)
    return SWEEPS[name], [float(np.median(times[v])) * 1e3 for v in SWEEPS[name]]


def step_function(size, r):
    model = ml.get_peft_model(build("llama", size), lora(r, "all-linear")).train()
    optimizer = ml.AdamW([p for p in model.parameters() if p.requires_grad])
    ids, labels = batch(size)

    def step():
        model.loss(ids, labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def lora(r, targets):
    return ml.LoraConfig(r=r, lora_alpha=2 * r, target_modules=targets, init_lora_weights=False)


def exponent(sizes, times):  # the slope of log time against log size over the last doublings
    return float(np.polyfit(np.log(sizes[-3:]), np.log(times[-3:]), 1)[0])


def print_life(size_name, repeats):
    """Switching, merging and unmerging an adapter of every linear layer."""
    size = SIZES[size_name]
    model = ml.get_peft_model(build("llama", size), lora(8, "all-linear"))
    model.add_adapter("other", lora(8, "all-linear"), seed=1)
    weights = {id(p.data) for p in model.parameters()}

    def switch():
        model.set_adapter("other")
        model.set_adapter("default")

    def merge():
        model.merge_adapter()

    times = interleaved({"switch": switch, "merge": merge, "unmerge": model.unmerge_adapter}, repeats)
    same = weights == {id(p.data) for p in model.parameters()}
    switch, merge, unmerge = (float(np.median(times[n])) * 1e3 for n in ("switch", "merge", "unmerge"))
    print(f"{size_name:7} two switches {switch:.2f} ms, merge {merge:.1f} ms, unmerge {unmerge:.2f} ms;"
          f" every weight is the same array afterwards: {same}", flush=True)  # fmt: skip


def draw(curves, path):
    with figure(path, 9.0, 5.4) as axes:
        for (name, (sizes, ms)), colour, marker in zip(curves.items(), COLOURS, MARKERS, strict=False):
            label = f"{name} {sizes[0]} to {sizes[-1]}: exponent {exponent(sizes, ms):.2f}"
            axes.plot(np.array(sizes) / sizes[0], ms, marker + "-", color=colour, label=label, markersize=9)
        axes.set(xscale="log", yscale="log", xlabel="times the smallest", ylabel="ms per step (CPU time)")
        axes.set_title("What a LoRA step costs")
        axes.set_xscale("log", base=2)
        axes.grid(alpha=0.3)
        axes.legend()


if __name__ == "__main__":
    main()
