"""`python -m benchmarks.fake_memory`: the memory that `minilora params` predicts, and the peak of Hugging Face's code.

Simulates the cases that benchmarks/results/fake-memory.json lacks (half a minute to some minutes each; this needs the
`reference` extra), and writes both tables of benchmarks/MEMORY.md. Without missing cases it takes a second.
"""

import json
import platform
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path

import click

from minilora.counting.architectures.catalog import from_config, load
from minilora.counting.cards import CARDS, GIB, verdict
from minilora.counting.count import count
from minilora.counting.memory import budget
from minilora.files.atomic import read_json, write_text

from .memory_cases import CASES, PUBLISHED, Case
from .options import OneLine, need_reference
from .paper import with_table

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results" / "fake-memory.json", HERE / "MEMORY.md"
LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes")


@click.command(cls=OneLine)
def main():
    """Simulate the missing cases and write the tables."""
    rows = read_rows()
    missing = [case for case in CASES if find(rows, case) is None]
    if missing:
        need_reference()
        from .fake_step import peak_bytes
    for i, case in enumerate(missing):
        rows.append(asdict(case) | {"peak": peak_bytes(case)})
        write_rows(rows)
        click.echo(f"{i + 1} of {len(missing)}: {case.model}, {case.method}: {rows[-1]['peak'] / GIB:.2f} GiB")
    write_text(PAGE, page(PAGE.read_text(encoding="utf-8"), rows))
    click.echo(f"{summary(rows)} {PAGE.name} has the tables.")


# ---- the rows


def read_rows() -> list:
    """The simulated cases: {fields of Case..., "peak": bytes}."""
    return read_json(RESULTS)["rows"] if RESULTS.is_file() else []


def find(rows: list, case: Case):
    """The row of a case, or None."""
    settings = asdict(case)
    return next((row for row in rows if settings.items() <= row.items()), None)


def write_rows(rows: list) -> None:
    order = [row for case in CASES if (row := find(rows, case))]
    versions = {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}
    made_by = json.dumps({"command": "python -m benchmarks.fake_memory", "versions": versions})
    lines = ",\n".join("    " + json.dumps(row) for row in order)
    write_text(RESULTS, f'{{\n  "made_by": {made_by},\n  "rows": [\n{lines}\n  ]\n}}\n')


def case_of(row: dict) -> Case:
    return Case(**{f.name: row[f.name] for f in fields(Case)})


# ---- ours beside theirs


def predicted(case: Case):  # -> counting.memory.Plan
    architecture = from_config(load(case.model).config | case.changes, case.model)
    made = budget(case.method, count(architecture, case.targets, case.rank), case.batch, case.length, case.dtype)
    return made.recomputed if case.recompute else made.kept


def wrong_fits(row: dict) -> list:
    """The cards that `minilora params` calls large enough and on which the peak and 1 GiB more do not fit."""
    ours = predicted(case_of(row)).peak.bytes
    return [gb for gb, gib in CARDS.items() if verdict(ours, gb) == "fits" and row["peak"] + GIB > gib * GIB]


def summary(rows: list) -> str:
    errors = [100 * (predicted(case_of(row)).peak.bytes / row["peak"] - 1) for row in rows]
    return f"{len(rows)} cases, predicted {min(errors):+.1f} % to {max(errors):+.1f} % of the peak."


def page(text: str, rows: list) -> str:
    """The page with both tables between their marks."""
    return with_table(with_table(text, "simulated", simulated_table(rows)), "published", published_table())


def simulated_table(rows: list) -> str:
    lines = [
        "| model | method | tokens | targets, rank | recomputed | peak, GiB | predicted | error | predicted moment |",
        "| --- | --- | ---: | --- | --- | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        case, peak = case_of(row), predicted(case_of(row)).peak
        cells = (
            case.model + "".join(f", {key} {value:g}" for key, value in case.changes.items()),
            case.method + ("" if case.dtype == "bfloat16" else f", {case.dtype}"),
            f"{case.batch} x {case.length}",
            "" if case.is_full else f"{case.targets.replace(',', ', ')}, {case.rank}",
            "yes" if case.recompute else "no",
            f"{row['peak'] / GIB:.2f}",
            f"{peak.bytes / GIB:.2f}",
            f"{100 * (peak.bytes / row['peak'] - 1):+.1f} %",
            peak.name,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", summary(rows)])


def published_table() -> str:
    lines = ["| source | measured | published GiB | predicted | error |", "| --- | --- | ---: | ---: | ---: |"]
    for row in PUBLISHED:
        ours = row_bytes(row) / GIB
        lines.append(
            f"| {row.source} | {row.what} | {row.gib:.1f} | {ours:.1f} | {100 * (ours / row.gib - 1):+.0f} % |"
        )
    return "\n".join(lines)


def row_bytes(row) -> float:
    """Our figure for a published one."""
    plan = predicted(row.case)
    return (plan.with_chunked_loss if row.chunked else plan).peak.bytes + row.context * GIB


if __name__ == "__main__":
    main()
