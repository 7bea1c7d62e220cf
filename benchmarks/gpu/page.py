"""`python -m benchmarks.gpu.page`: put the rows of results/gpu.jsonl into the section GPU of RESULTS.md."""

import json
from pathlib import Path

import click

from minilora.files.atomic import read_utf8, write_text

from ..options import OneLine
from ..paper import with_table
from .measurements import NAMES, measurement_named

HERE = Path(__file__).parents[1]
PAGE, RESULTS = HERE / "RESULTS.md", HERE / "results" / "gpu.jsonl"


@click.command(cls=OneLine)
def main():
    """Put the rows of results/gpu.jsonl into the section GPU of RESULTS.md."""
    write_text(PAGE, page(read_utf8(PAGE), read_rows()))


def read_rows(path=RESULTS) -> list[dict]:
    """The rows that were measured on a card; none where there is no such file yet."""
    return [json.loads(line) for line in read_utf8(path).splitlines()] if path.is_file() else []


def page(text: str, rows: list[dict]) -> str:
    """The page with the verdicts and the tables of these rows; a rehearsal's rows are left out."""
    rows = [row for row in rows if not row["small"]]
    return with_table(with_table(text, "gpu targets", targets(rows)), "gpu", tables(rows))


def tables(rows):
    measured = {row["what"] for row in rows}
    found = [table(name, [row for row in rows if row["what"] == name]) for name in NAMES if name in measured]
    missing = [f"`{name}`" for name in NAMES if name not in measured]
    return "\n\n".join(found + [f"**Not measured**, because we had no device: {', '.join(missing)}."] * bool(missing))


def table(name, rows):  # -> the command, then for each card and set of versions a head and its rows
    lines = [f"### `python -m benchmarks.gpu {name}`"]
    for about in dict.fromkeys(map(machine, rows)):
        measurement = measurement_named(name)
        found = [measurement.row(row) for row in rows if machine(row) == about]
        lines += ["", about, "", "```text", measurement.head, *found, "```"]
    return "\n".join(lines)


def machine(row):  # -> the card and the versions, in words
    versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
    return f"{row['card']}, driver {row['driver']}, CUDA {row['cuda']} (torch: {row['torch_cuda']}); {versions}."


def targets(rows):  # -> a table: what, target, measured and verdict
    steps = [row for row in rows if row["what"] == "step"]
    lora = [row for row in steps if row["trained"] != "full"]
    ratios = [row["here/torch"] for row in lora if row["width"] == 768 and row["precision"] != "float16"]
    shares = [row["share"] for row in lora if row["width"] == 4096 and row["precision"] != "float16"]
    lines = [
        ("step of LoRA / torch eager + PEFT, width 768, float32 and TF32", "at most 1.0",
         verdict(ratios, lambda ratio: ratio, "{:.2f}")),
        ("step of LoRA, width 4096, float32 and TF32: share of the card's measured matrix rate", "at least 60%",
         verdict(shares, lambda share: 0.6 / share, "{:.0%}")),
    ]  # fmt: skip
    return "\n".join(["| what | target | measured |", "| --- | --- | --- |", *(f"| {' | '.join(x)} |" for x in lines)])


def verdict(figures, against, form):  # against: figure -> 1 at the target, more when it is missed
    if not figures:
        return "**not measured**"
    return ", ".join(f"{form.format(figure)}: {judged(against(figure))}" for figure in figures)


def judged(ratio):
    return "at it" if abs(ratio - 1) <= 0.05 else "met" if ratio < 1 else "**missed**"


if __name__ == "__main__":
    main()
