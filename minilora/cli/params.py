"""`minilora params`: how many parameters, bytes and operations LoRA takes on any model, and what fits on which card."""

import csv
import io
import json
import textwrap
from pathlib import Path

import click

from ..counting.architectures.presets import PRESETS
from ..display.numbers import GIB
from ..display.tables import new_table
from ..errors import ConfigError

COLUMNS = (
    "model", "targets", "rank", "matrices", "base", "trainable", "total", "percent", "reduction",
    "adapter_bytes_fp32", "adapter_bytes_16bit", "file_bytes_fp32", "file_bytes_16bit",
)  # fmt: skip
WIDTH = 80  # columns of a table at least; also in a file
NAMES = textwrap.fill(", ".join(PRESETS), 76, break_on_hyphens=False)


@click.command(epilog=f"\b\nPresets:\n{NAMES}")
@click.argument("model")
@click.option("--rank", "ranks", default="8", show_default=True, metavar="R[,R...]", help="One rank, or several.")
@click.option(
    "--targets", "target_sets", multiple=True, metavar="NAMES",
    help="q_proj,v_proj or all-linear or a regular expression for whole paths; may be given several times."
    "  [default: PEFT's for this model]",
)  # fmt: skip
@click.option(
    "--dtype", default="bfloat16", show_default=True, type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Of the base.",
)  # fmt: skip
@click.option("--batch", default=1, show_default=True, type=click.IntRange(1, 10**6), help="Sequences at a time.")
@click.option("--length", default=512, show_default=True, type=click.IntRange(1, 10**8), help="Tokens of each.")
@click.option("--adapters", default=100, show_default=True, type=click.IntRange(1, 10**6), help="Served at once.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array, one object per row.")
@click.option("--csv", "as_csv", is_flag=True, help="One line per row.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Write the figure to this PNG.")
def params(model, ranks, target_sets, dtype, batch, length, adapters, as_json, as_csv, plot):
    """Count LoRA on MODEL: a preset (see below), a config.json or its folder, or one matrix (4096x4096).

    One rank and one target set: all about that configuration. Several: a table. Every count is made twice, by the
    closed formula and by building the model that trains, where there is one.
    """
    from ..counting.architectures.catalog import default_targets, load
    from ..counting.build import cross_check
    from ..counting.count import count
    from ..counting.report import row

    if as_json and as_csv:
        raise ConfigError("--json and --csv exclude each other")
    if plot and plot.suffix.lower() != ".png":
        raise ConfigError(f"--plot {plot}: figures are PNG files, expected a name that ends in .png")
    architecture = load(model)
    target_sets = target_sets or (default_targets(architecture),)
    counts = [count(architecture, targets, rank) for targets in target_sets for rank in parse_ranks(ranks)]
    rows = [row(c, cross_check(c), batch, length, dtype, adapters) for c in counts]

    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif as_csv:
        click.echo(as_lines(rows), nl=False)
    else:
        show(rows)
    if plot:
        from ..counting.figures import draw

        draw(counts, batch, length, dtype, plot)
        click.echo(f"figure: {plot}", err=True)


def parse_ranks(text):  # "8,16" -> [8, 16]
    try:
        return list(dict.fromkeys(int(piece) for piece in text.split(",")))
    except ValueError:
        raise ConfigError(f"--rank {text[:40]!r}: expected whole numbers joined by commas, as 8 or 4,8,16") from None


def as_lines(rows):
    lines = io.StringIO()
    writer = csv.DictWriter(lines, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return lines.getvalue()


def show(rows):
    from rich.console import Console

    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.width = max(console.width, WIDTH)
    first = rows[0]
    console.print(f"{first['model']} ({first['model_class']}): {first['base']:,} parameters")
    console.print(counts_table(rows))
    for text in dict.fromkeys(f"{r['targets']}: {r['counted']}" for r in rows):
        console.print(text)
    for text in dict.fromkeys(f"note: {note}" for r in rows for note in r["notes"]):
        console.print(text)
    if len(rows) > 1:
        console.print("\nOne rank and one target set alone: also its memory, operations and serving.")
        return
    console.print(f"trainable = r x sum of (in + out) = {first['working']} = {first['trainable']:,}")
    for name, key in (("fp32", "fp32"), ("16 bit", "16bit")):
        data, file = first[f"adapter_bytes_{key}"], first[f"file_bytes_{key}"]
        console.print(f"adapter in {name}: {data:,} bytes of numbers, a file of {file:,}")
    if first["model_class"] == "one matrix":  # nobody trains or serves one alone
        return
    for part in (cards_table(first), *memory_tables(first), flops_table(first), serving_table(first)):
        console.print(part)


def counts_table(rows):
    made = new_table("targets", "rank", "trainable", "%", "fewer", "fp32", "16 bit", text=1)
    for above, r in zip([None, *rows], rows, strict=False):
        targets = "" if above and above["targets"] == r["targets"] else r["targets"]
        made.add_row(
            targets, str(r["rank"]), f"{r['trainable']:,}", f"{r['percent']:.4f}", times(r["reduction"]),
            megabytes(r["file_bytes_fp32"]), megabytes(r["file_bytes_16bit"]),
        )  # fmt: skip
    made.caption = (
        "%: of base and adapter together. fp32, 16 bit: the file; PEFT saves fp32 unless the adapter was made in 16 bit"
    )
    return made


def memory_tables(r):
    """A table of items for each method."""
    for method, budget in r["memory"].items():
        precision = "bfloat16" if "4-bit" in method else r["dtype"]
        title = f"Memory of training, {method}: {r['batch']} x {r['length']} tokens, {precision}"
        made = new_table("", "formula", "GiB", text=1, title=title)
        for item in budget["states"]:
            made.add_row(item["name"], item["formula"], f"{item['bytes'] / GIB:,.3f}")
        for kind, key, total in (
            ("kept", "activations", "total"),
            ("recomputed", "activations_recomputed", "total_recomputed"),
        ):
            made.add_section()
            made.add_row(f"activations {kind}:", "tokens x numbers x bytes", "")
            for item in budget[key]:
                made.add_row(f"  {item['name']}", item["formula"], f"{item['bytes'] / GIB:,.3f}")
            made.add_row(f"total, activations {kind}", "", f"{budget[total] / GIB:,.3f}", style="bold")
        yield made


def cards_table(r):
    cards = r["memory"]["LoRA"]["cards"]
    title = "Which card holds the training (activations recomputed)"
    made = new_table("", "GiB", *(f"{gb} GB" for gb in cards), text=1, title=title)
    for method, budget in r["memory"].items():
        made.add_row(method, f"{budget['total_recomputed'] / GIB:,.1f}", *budget["cards"].values())
    made.caption = "tight: the sum fits, but not with the fifth on top that real runs need"
    return made


def flops_table(r):
    f = r["flops_per_token"]
    made = new_table("", "full", "LoRA", text=1, title=f"Operations per token, among {r['length']}")
    for name, full, lora in (
        ("forward: W x", f["forward"], f["forward"]),
        ("forward: attention", f["attention_forward"], f["attention_forward"]),
        ("backward: dx = g W", f["backward_dx"], f["backward_dx"]),
        ("backward: attention", f["attention_backward"], f["attention_backward"]),
        ("backward: dW = gᵀ x", f["backward_dW"], 0),
        ("A and B, forward and backward", 0, f["lora"]),
        ("sum", f["full"], f["with_lora"]),
    ):
        made.add_row(name, f"{full:,}", f"{lora:,}")
    made.caption = (
        f"LoRA saves the dW products and nothing else: full / LoRA = {f['full_over_lora']:.3f} (never above 1.5), "
        f"{f['full_over_lora_recomputed']:.3f} with recomputation (never above 1.333)"
    )
    return made


def serving_table(r):
    s = r["serving"]
    made = new_table("", "formula", "GiB", text=1, title=f"Serving in {r['dtype']}")
    for item in s["memory"]:
        made.add_row(item["name"], item["formula"], f"{item['bytes'] / GIB:,.3f}")
    made.add_row("sum", "", f"{s['total'] / GIB:,.3f}")
    made.add_row("the base in 4 bit instead", "", f"{s['base_4bit'] / GIB:,.3f}")
    made.caption = (
        f"To switch: {s['switch_resident']} bytes when resident and unmerged; {megabytes(s['switch_load'])} from the "
        f"host; {megabytes(s['switch_merge'])} read and written to merge into W"
    )
    return made


def times(ratio):  # 128.0 -> "128x", 1178.19 -> "1,178.2x"
    return f"{ratio:,.{1 if ratio < 10_000 and ratio != int(ratio) else 0}f}x"


def megabytes(n):
    return f"{n / 1e6:,.1f} MB" if n >= 1e5 else f"{n:,} B"
