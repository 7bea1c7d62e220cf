"""The measured rows of a benchmark, for a lesson that replays it instead of training again."""

import json

import numpy as np

from ...files.shipped import shipped


def measured(name: str) -> list[dict]:
    """The rows of benchmarks/results/NAME.json, without those that chose a learning rate. Prints how they were made."""
    result = json.loads(shipped(f"benchmarks/results/{name}.json").read_text(encoding="utf-8"))
    made_by = result["made_by"]
    versions = ", ".join(f"{k} {v}" for k, v in made_by["versions"].items())
    print(f"replayed: {made_by['command']}\n          seeds {made_by['seeds']}; {versions}")
    return [row for row in result["rows"] if not row.get("tuning")]


def mean_and_spread(rows: list[dict], what: str, **settings) -> tuple[float, float]:
    """The mean and the standard deviation of `what` over the rows that have these settings."""
    values = [row[what] for row in rows if settings.items() <= row.items()]
    return float(np.mean(values)), float(np.std(values, ddof=1))
