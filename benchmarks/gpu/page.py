"""`python -m benchmarks.gpu.page`: put the rows of results/gpu.jsonl into the section GPU of RESULTS.md."""

import json
from pathlib import Path

import click

from minilora.files.atomic import read_utf8, write_text

from ..options import OneLine, Refused
from ..paper import with_table
from .measurements import NAMES, measurement_named

HERE = Path(__file__).parents[1]
PAGE, RESULTS = HERE / "RESULTS.md", HERE / "results" / "gpu.jsonl"


@click.command(cls=OneLine)
def main():
    """Put the rows of results/gpu.jsonl into the section GPU of RESULTS.md."""
    rows = read_rows(RESULTS)
    try:
        text = page(read_utf8(PAGE), rows)
    except KeyError as error:
        raise Refused(f"{RESULTS.name}: a row has no {error}; it is of another version, delete it") from None
    write_text(PAGE, text)


def read_rows(path) -> list[dict]:
    """The rows that were measured on a card; none where there is no such file yet.

    Raises Refused for a line that is no row: half of one is left when a process is killed.
    """
    rows = []
    for number, line in enumerate(read_utf8(path).splitlines() if path.is_file() else [], 1):
        try:
            rows.append(json.loads(line))
        except ValueError:
            raise Refused(f"{path.name}, line {number}: not a whole row; delete the line") from None
    return rows


def page(text: str, rows: list[dict]) -> str:
    """The page with the verdicts and the tables of these rows; a rehearsal's rows are left out."""
    rows = [row for row in rows if not row["small"]]
    return with_table(with_table(text, "gpu targets", targets(rows)), "gpu", tables(rows))


def tables(rows):
    measured = {row["what"] for row in rows}
    found = [table(name, [row for row in rows if row["what"] == name]) for name in NAMES if name in measured]
    missing = [f"`{name}`" for name in NAMES if name not in measured]
    return "\n\n".join(found + [f"**Not measured on a device yet**: {', '.join(missing)}."] * bool(missing))


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


def targets(rows):  # -> a table: what, target, measured and verdict; of a step measured again, the last
    steps = [
        row for row in rows if row["what"] == "step" and row["trained"] != "full" and row["precision"] != "float16"
    ]
    last = {(row["card"], row["trained"], row["precision"], row["width"]): row for row in steps}
    lines = [
        ("step of LoRA / torch eager + PEFT, width 768, float32 and TF32", "at most 1.0",
         verdicts(last, 768, lambda row: row["here/torch"], lambda ratio: ratio, "{:.2f}")),
        ("step of LoRA, width 4096, float32 and TF32: share of the card's measured matrix rate", "at least 60%",
         verdicts(last, 4096, lambda row: row["share"], lambda share: 0.6 / share, "{:.0%}")),
    ]  # fmt: skip
    return "\n".join(["| what | target | measured |", "| --- | --- | --- |", *(f"| {' | '.join(x)} |" for x in lines)])


def verdicts(steps, width, figure, against, form):  # against: figure -> 1 at the target, more when it is missed
    several = len({card for card, *_ in steps}) > 1
    found = [
        f"{f'{card}, ' * several}{trained} {precision} {form.format(figure(row))}: {judged(against(figure(row)))}"
        for (card, trained, precision, its_width), row in steps.items()
        if its_width == width
    ]
    return "; ".join(found) or "**not measured**"


def judged(ratio):
    return "at it" if abs(ratio - 1) <= 0.05 else "met" if ratio < 1 else "**missed**"


if __name__ == "__main__":
    main()
