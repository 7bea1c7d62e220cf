"""What the ledger reads from the committed results of `python -m benchmarks.paper NAME`: benchmarks/results/NAME.json
has a row for every training, with what was trained, how, from which seed, and what came out.

Rows are chosen by settings such as {"targets": "mlp", "r": 8}: those of all seeds that have them. r is 0 in full
fine-tuning.

What a card measured (`python -m benchmarks.gpu`) is in benchmarks/results/gpu.jsonl, which is there once a card ran it.
"""

import json
from functools import cache
from statistics import mean

from ...display.numbers import number_text
from ...errors import FormatError, MissingFileError
from ...files.atomic import read_json
from ...files.shipped import shipped


def where(name):  # -> str, the file and how it is made
    return f"benchmarks/results/{name}.json, made by `python -m benchmarks.paper {name}`, on the shipped small base"


@cache
def rows(name):  # -> [dict], without those that only chose a learning rate
    return [row for row in read_json(shipped(f"benchmarks/results/{name}.json"))["rows"] if not row["tuning"]]


def of_seeds(name, metric, which):  # -> [float], one for each seed in order; nothing where the training overflowed
    found = {row["seed"]: row[metric] for row in rows(name) if which.items() <= row.items()}
    if len(found) != sum(which.items() <= row.items() for row in rows(name)) or len(found) < 2:
        raise FormatError(f"{name}: {which} chooses no row or several for a seed")
    return [found[seed] for seed in sorted(found)]


def numbers(name, metric, which):  # -> [float], one for each seed; FormatError where a training overflowed
    found = of_seeds(name, metric, which)
    if None in found:
        raise FormatError(f"{name}: a training of {which} overflowed, so it has no {metric}")
    return found


def share(name, ours, others):
    """100 x the scores of `ours` / those of `others`, all seeds added up."""
    upper, lower = (numbers(name, "score", which) for which in (ours, others))
    sums = (" + ".join(f"{v:g}" for v in values) for values in (upper, lower))
    return 100 * sum(upper) / sum(lower), "100 x ({}) / ({})".format(*sums)


def best_rate(name, which):
    """The learning rate with the lowest test loss, mean over the seeds."""
    rates = sorted({row["lr"] for row in rows(name) if which.items() <= row.items()})
    losses = {lr: of_seeds(name, "test_loss", which | {"lr": lr}) for lr in rates}
    means = {lr: mean(values) for lr, values in losses.items() if None not in values}
    return min(means, key=lambda lr: means[lr]), "lowest of " + ", ".join(
        f"{loss:.4f} at {lr:g}" for lr, loss in means.items()
    )


def seeds_where(name, metric, more, less, more_then=None, less_then=None):
    """Percent of the seeds at which `metric` of `more` is above that of `less`; with the last two, at which the
    difference is above that of these."""
    terms = [numbers(name, metric, which) for which in (more, less)]
    texts = [f"{a:.4g} > {b:.4g}" for a, b in zip(*terms, strict=True)]
    holds = [a > b for a, b in zip(*terms, strict=True)]
    if more_then:
        terms += [numbers(name, metric, which) for which in (more_then, less_then)]
        texts = [f"{a:.4g} - {b:.4g} > {c:.4g} - {d:.4g}" for a, b, c, d in zip(*terms, strict=True)]
        holds = [a - b > c - d for a, b, c, d in zip(*terms, strict=True)]
    return 100 * sum(holds) / len(holds), f"100 x ({' + '.join(f'({t})' for t in texts)}) / {len(holds)}"


class NotMeasured(Exception):
    """No card has measured this yet."""


def on_card(what, figure, which):
    """A figure of `python -m benchmarks.gpu WHAT`, of the latest row with these settings. Raises NotMeasured."""
    found = [row for row in card_rows() if row["what"] == what and which.items() <= row.items()]
    if not found:
        raise NotMeasured
    value = found[-1][figure]
    return value, f"{number_text(value, digits=6)}, measured on {found[-1]['card']}"


@cache
def card_rows():  # -> [dict], without rehearsals
    try:
        text = shipped("benchmarks/results/gpu.jsonl").read_text(encoding="utf-8")
    except MissingFileError:
        return []
    return [row for row in map(json.loads, text.splitlines()) if not row["small"]]
