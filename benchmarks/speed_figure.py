"""`python -m benchmarks.speed_figure`: draw results/speed.jsonl (lines of `benchmarks.step --json`), print the tables.

Time per step as a share of torch + PEFT's: here, and the matrix products alone; with both held to AVX2 as a dot.
"""

import json
from pathlib import Path

import click

from minilora.display.plots import COLOURS, figure

from .options import OneLine
from .step import HEADS, ROWS

HERE = Path(__file__).parent
NAMES = {"llama": "Llama", "gpt2": "GPT-2"}
LABELS = {"100%": "", "33%": ", a third labelled", "33%, both": ", a third labelled (both)"}


@click.command(cls=OneLine)
def main():
    """Print the tables of results/speed.jsonl and draw figures/speed.png."""
    lines = (HERE / "results" / "speed.jsonl").read_text(encoding="utf-8").splitlines()
    results = [json.loads(line) for line in lines]
    for what, head in HEADS.items():
        if some := [r for r in results if r["what"] == what]:
            print(head)
            print("\n".join(ROWS[what](r) for r in some))
    (HERE / "figures").mkdir(exist_ok=True)
    draw([r for r in results if r["what"] == "step" and r["threads"] == 1], HERE / "figures" / "speed.png")


def label(r):
    return f"{NAMES[r['model']]}, {r['size']}, {r['targets']}{LABELS[r['labels']]}"


def draw(steps, path):
    avx2 = {label(r): r["here/torch"] for r in steps if r["kernel"] == "Haswell"}
    steps = [r for r in steps if r["kernel"] != "Haswell"]
    with figure(path, 11.0, 1.8 + 0.62 * len(steps)) as axes:
        for i, r in enumerate(steps):
            floor = r["here/torch"] / r["here/floor"]
            axes.barh(i, r["here/torch"], color=COLOURS[0], height=0.7, label="minilora" if i == 0 else None)
            axes.barh(i, floor, color=COLOURS[4], height=0.3, label="of it, its matrix products" if i == 0 else None)
            axes.text(r["here/torch"] + 0.01, i, f"{r['here/torch']:.2f}", va="center")
        places = [(avx2[label(r)], i) for i, r in enumerate(steps) if label(r) in avx2]
        axes.plot(*zip(*places, strict=True), "D", color=COLOURS[1], markersize=10, label="minilora, both held to AVX2")
        axes.axvline(1, color="black", linestyle="--", label="torch + PEFT")
        axes.set_yticks(range(len(steps)), [label(r) for r in steps])
        axes.invert_yaxis()
        axes.set(xlim=(0, 1.1), xlabel="time of a training step, torch + PEFT = 1 (one thread)")
        axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2, frameon=False)


if __name__ == "__main__":
    main()
