"""`minilora params`: how many parameters, bytes and operations LoRA takes on any model, and what fits on which card."""

import csv
import io
import json
import textwrap
from dataclasses import asdict
from pathlib import Path

import click

from ..counting.architectures.presets import PRESETS
from ..counting.cards import CARDS
from ..counting.methods import LABELS as METHODS
from ..errors import ConfigError
from ..files.atomic import is_taken
from ..quantization.config import QUANTIZE

COLUMNS = (
    "version", "model", "method", "targets", "rank", "matrices", "base", "trainable", "total", "percent", "reduction",
    "adapter_bytes_fp32", "adapter_bytes_16bit", "file_bytes_fp32", "file_bytes_16bit", "dtype", "batch", "length",
)  # fmt: skip
MEMORY = {  # column -> method: bytes at the peak, recomputed
    "memory_full": "full", "memory_full_16bit": "full, 16-bit", "memory_lora": "LoRA",
    "memory_4bit_lora": "4-bit + LoRA", "memory_4bit_lora_prepared": "4-bit + LoRA, prepared",
}  # fmt: skip
CARD = {name.replace("memory", "card"): method for name, method in MEMORY.items()}  # column -> the smallest one, in GB
NAMES = textwrap.fill(", ".join(PRESETS), 76, break_on_hyphens=False)
SCHEMA = """\b
JSON: an array, one object for each rank and target set. Its keys:
  version                   2; it grows when a key changes its meaning or goes
  model, model_class, method, targets, rank (null without one), matrices
  base, trainable, total    numbers of parameters; percent is of the total,
                            reduction is base / trainable
  sum, working, counted, notes  what is summed, and the sum; how it was
                            confirmed; what to know
  adapter_bytes_fp32, adapter_bytes_16bit      bytes of the trained numbers
  file_bytes_fp32, file_bytes_16bit            bytes of the file
  dtype, batch, length, engine, quantize    as asked; assumed: for all of the
                            memory
  memory                    {method: assumes, states, peak, variants, cards}:
    states, peak            items {name, formula, bytes}; peak.recomputed and
                            peak.kept also have the moment, the total, and the
                            bytes of every moment (engine minilora: kept alone)
    variants                {name: total, card, cards_of_80}: bytes, the
                            smallest card in GB, how many of 80 GB
    cards                   [{gb, gib, verdict}] of the first of the peaks
  on                        with --card: cards, gb, gib, and answers {method,
                            total (bytes on each card), fits, remedies}
  flops_per_token           operations, not time
  serving                   items; bytes that a switch of adapters moves
CSV: version to length, engine, then bytes at the first of the peaks as
memory_full, memory_full_16bit, memory_lora, memory_4bit_lora and
memory_4bit_lora_prepared, then full_over_lora (operations), then the smallest
card in GB as card_full and so on; empty where none holds it.
"""


@click.command(epilog=f"{SCHEMA}\n\b\nPresets:\n{NAMES}")
@click.argument("model")
@click.option(
    "--method", default="lora", show_default=True, type=click.Choice(list(METHODS)),
    help="What is trained. --rank is AdaLoRA's init_r; IA3 and those in front of a sequence have no rank.",
)  # fmt: skip
@click.option(
    "--virtual-tokens", type=click.IntRange(1, 10**6), metavar="N",
    help="prefix_tuning and prompt_tuning: places in front of every sequence.  [default: 20]",
)  # fmt: skip
@click.option(
    "--rank", "ranks", metavar="R[,R...]", help="One rank, or several joined by commas.  [default: 8; vera: 256]"
)
@click.option(
    "--targets", "target_sets", multiple=True, metavar="NAMES",
    help="q_proj,v_proj or all-linear or a regular expression for whole paths; may be given several times."
    "  [default: PEFT's for this model and method]",
)  # fmt: skip
@click.option(
    "--adapter-config", type=click.Path(path_type=Path), metavar="FILE",
    help="Count an adapter_config.json of PEFT with all its fields, instead of --method, --rank and --targets.",
)  # fmt: skip
@click.option(
    "--dtype", default="bfloat16", show_default=True, type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Stored type of the base weights.",
)  # fmt: skip
@click.option("--batch", default=1, show_default=True, type=click.IntRange(1, 10**6), help="Sequences in a batch.")
@click.option("--length", default=512, show_default=True, type=click.IntRange(1, 10**8), help="Tokens per sequence.")
@click.option(
    "--engine", default="huggingface", show_default=True, type=click.Choice(["huggingface", "minilora"]),
    help="Whose memory is predicted: that of transformers and PEFT on a card, or minilora's own, in float32.",
)  # fmt: skip
@click.option(
    "--quantize", type=click.Choice(list(QUANTIZE)), help="With --engine minilora: LoRA on a base in 4, 8 or 16 bits.",
)  # fmt: skip
@click.option(
    "--card", metavar="[Nx]GB",
    help="Say first what fits on a card of this size, or on N of them (2x48), and what would make the rest fit: "
    + ", ".join(f"{gb:g}" for gb in CARDS) + " (T4: 15, L4 and A10: 22.5, L40S: 45).",
)  # fmt: skip
@click.option(
    "--adapters", default=100, show_default=True, type=click.IntRange(1, 10**6),
    help="Adapters served at the same time.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON, see below.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, see below.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Write the figure to this new PNG file.")
@click.option("--overwrite", is_flag=True, help="Replace the file of --plot.")
def params(
    model, method, virtual_tokens, ranks, target_sets, adapter_config, dtype, batch, length, engine, quantize, card,
    adapters, as_json, as_csv, plot, overwrite,
):  # fmt: skip
    """Count LoRA or a relative (--method) on MODEL: a preset (see below), an id of the hub, a config.json or its
    folder, or one matrix (4096x4096).

    With one rank and one target set the command prints all about that configuration, with several a table of counts
    and one of memory. Every count is made twice: by the closed formula, and by building the model that trains, where
    there is one.
    """
    from ..counting.architectures.catalog import load
    from ..counting.build import cross_check
    from ..counting.cards import as_cards
    from ..counting.report import row
    from .params_tables import show

    if as_json and as_csv:
        raise ConfigError("--json and --csv exclude each other")
    if quantize and engine != "minilora":
        raise ConfigError("--quantize goes with --engine minilora; Hugging Face's 4-bit rows are in every table")
    asked = as_cards(card) if card else None
    if asked and asked[0] > 1 and engine == "minilora":
        raise ConfigError("--engine minilora trains on one card; expected --card GB without a number of cards")
    if plot:
        check_plot(plot, overwrite)
    architecture = load(model)
    if adapter_config:
        others = ranks is not None or target_sets or method != "lora" or virtual_tokens
        counts = [count_file(architecture, adapter_config, others)]
    else:
        counts = counts_of(architecture, method, target_sets, ranks, virtual_tokens)
    if plot and not hasattr(counts[0].config, "r"):
        raise ConfigError(f"--plot draws counts against the rank r, which {counts[0].method} does not have")
    rows = [row(c, cross_check(c), batch, length, dtype, adapters, engine, quantize) for c in counts]

    if asked and "memory" in rows[0]:
        for made, counted in zip(rows, counts, strict=True):
            made["on"] = answers_on(asked, counted, batch, length, dtype, engine, quantize)

    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif as_csv:
        click.echo(as_lines(rows), nl=False)
    else:
        show(rows)
    if plot:
        from ..counting.figures import draw

        draw(counts, batch, length, dtype, plot, engine, quantize)
        click.echo(f"figure: {plot}", err=True)


def counts_of(architecture, method, target_sets, ranks, virtual_tokens):  # -> list of Counts
    """One Count for each target set and rank. Refuses options that the method does not have."""
    from ..counting.count import count_method

    in_front = method in ("prefix_tuning", "prompt_tuning")
    for given, name, fits in (
        (ranks, "--rank", not in_front and method != "ia3"),
        (target_sets, "--targets", not in_front),
        (virtual_tokens, "--virtual-tokens", in_front),
    ):
        if given and not fits:
            raise ConfigError(f"{name} does not belong to {method}: leave it out")
    wanted = [None] if ranks is None else parse_ranks(ranks)
    return [
        count_method(architecture, method, targets, rank, virtual_tokens or 20)
        for targets in target_sets or (None,)
        for rank in wanted
    ]


def check_plot(plot, overwrite):
    """Refuse a name that is no PNG's, a folder that is not there, and a file that is."""
    if plot.suffix.lower() != ".png":
        raise ConfigError(f"--plot {plot}: figures are PNG files, expected a name that ends in .png")
    if not plot.parent.is_dir():
        raise ConfigError(f"--plot {plot}: there is no folder {plot.parent}")
    if is_taken(plot) and not overwrite:
        raise ConfigError(f"--plot {plot}: the file exists; --overwrite replaces it")


def count_file(architecture, path, others):
    from ..adapters.files import read_adapter_config
    from ..counting.count import count_config

    if others:
        raise ConfigError("--adapter-config has method, rank and targets; leave out --rank and --targets, and --method")
    return count_config(architecture, read_adapter_config(path / "adapter_config.json" if path.is_dir() else path))


def answers_on(asked, count, batch, length, dtype, engine, quantize):  # (number of cards, GB) -> what the key "on" has
    from ..counting.cards import OVERHEAD
    from ..counting.engine import OVERHEAD as OWN_OVERHEAD
    from ..counting.fits import answers, own_answers

    cards, gb = asked
    if engine == "minilora":  # on a card it has the overhead of a card
        found = own_answers(count, batch, length, CARDS[gb] - OVERHEAD + OWN_OVERHEAD, quantize)
    else:
        found = answers(count, batch, length, dtype, CARDS[gb], cards)
    return {"cards": cards, "gb": gb, "gib": CARDS[gb], "answers": [asdict(answer) for answer in found]}


def parse_ranks(text):  # "8,16" -> [8, 16]
    try:
        return list(dict.fromkeys(int(piece) for piece in text.split(",")))
    except ValueError:
        raise ConfigError(f"--rank {text[:40]!r}: expected whole numbers joined by commas, as 8 or 4,8,16") from None


def as_lines(rows):
    lines = io.StringIO()
    columns = (*COLUMNS, "engine", *MEMORY, "full_over_lora", *CARD)
    writer = csv.DictWriter(lines, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        memory = row.get("memory", {})
        peaks = {c: next(iter(memory[m]["peak"].values()))["total"] for c, m in MEMORY.items() if m in memory}
        cards = {c: next(iter(memory[m]["variants"].values()))["card"] for c, m in CARD.items() if m in memory}
        writer.writerow(row | peaks | cards | {"full_over_lora": row.get("flops_per_token", {}).get("full_over_lora")})
    return lines.getvalue()
