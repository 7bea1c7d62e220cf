"""`minilora doctor --fits MODEL`: can this be trained here?"""

import shutil
import subprocess
import textwrap

import click

from ..counting.machine import free_memory
from ..display.numbers import GIB
from ..display.tables import console, new_table
from ..errors import ConfigError

QUERY = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits")  # MiB


def fits(model: str, batch: int, length: int, devices: list, quantize: str | None = None) -> dict:
    """What can be trained in the memory of this machine with minilora, and on each card with transformers and PEFT.

    model: as in `minilora params`; PEFT's default targets, rank 8. devices: those that CuPy finds. quantize: how
    minilora keeps the base, see counting/stored.py. Raises MiniloraError for a model that is not known.
    """
    from ..counting.architectures.catalog import default_targets, load
    from ..counting.count import count

    architecture = load(model)
    if not architecture.model_type:
        raise ConfigError(f"--fits {model}: one matrix is not trained alone; expected a model")
    counted = count(architecture, default_targets(architecture), 8)
    return {
        "model": architecture.name,
        "targets": counted.targets,
        "rank": counted.rank,
        "batch": batch,
        "length": length,
        "quantize": quantize,
        "places": [
            in_memory(counted, batch, length, quantize),
            *(on_card(c, counted, batch, length) for c in cards(devices)),
        ],
    }


def in_memory(counted, batch, length, quantize):
    from ..counting.fits import own_answers

    free = free_memory()
    place = {"device": "cpu", "name": "this machine's free memory", "bytes": free, "engine": "minilora"}
    try:
        return place | {"answers": _answers(own_answers(counted, batch, length, free / GIB, quantize))}
    except ConfigError as error:
        return place | {"answers": [], "problem": str(error)}


def on_card(card, counted, batch, length):
    from ..counting.fits import answers

    made = _answers(answers(counted, batch, length, "bfloat16", card["bytes"] / GIB))
    return {
        "device": card["device"],
        "name": card["name"],
        "bytes": card["bytes"],
        "engine": "huggingface",
        "answers": made,
    }


def _answers(found):
    return [{"method": a.method, "total": a.total, "fits": a.fits, "remedies": list(a.remedies)} for a in found]


def cards(devices: list) -> list:
    """The cards that CuPy finds, else those that nvidia-smi lists: {"device", "name", "bytes"}."""
    found = [d for d in devices if "name" in d]
    if found or not shutil.which(QUERY[0]):
        return found
    done = subprocess.run(QUERY, capture_output=True, text=True)
    lines = [line.rpartition(",") for line in done.stdout.splitlines()] if done.returncode == 0 else []
    return [
        {"device": f"cuda:{i}", "name": name.strip(), "bytes": int(mib) * 2**20}
        for i, (name, _, mib) in enumerate(lines)
        if mib.strip().isdigit()
    ]


def show(report: dict) -> None:
    """Print what `fits` returned."""
    asked = f"rank {report['rank']} on {report['targets']}, {report['batch']} x {report['length']} tokens"
    click.echo(f"{report['model']}, {asked}")
    for place in report["places"]:
        own = place["engine"] == "minilora" and report["quantize"]
        engine = f"minilora, the base in {report['quantize']}" if own else ENGINES[place["engine"]]
        click.echo(f"\n{place['device']}: {place['name']}, {place['bytes'] / GIB:.1f} GiB, with {engine}")
        if "problem" in place:
            click.echo(textwrap.fill(place["problem"], 80))
            continue
        made = new_table("", "GiB", "", text=1)
        made.columns[2].justify, made.columns[2].no_wrap = "left", False
        for a in place["answers"]:
            remedies = "no; it would fit with " + ", or with ".join(a["remedies"]) if a["remedies"] else "no"
            made.add_row(a["method"], f"{a['total'] / GIB:,.1f}", "fits" if a["fits"] else remedies)
        console(80).print(made)
    if len(report["places"]) == 1:
        click.echo("CuPy and nvidia-smi find no card; for one ask: minilora params MODEL --card GB")


ENGINES = {"minilora": "minilora in float32", "huggingface": "transformers and PEFT in bfloat16"}
