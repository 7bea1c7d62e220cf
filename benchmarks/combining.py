"""`python -m benchmarks.combining`: what each way to combine does to three tasks that were learned apart.

For each seed the shipped base learns each task twice: as a LoRA of rank 8 on all linear layers, and in full. Then every
rule makes one adapter of the three adapters, or one model of the three models. Weight (the same for all three) and
density are those with the lowest loss on the validation splits, mean over the tasks, with TUNING_SEED.

Every measured row is saved at once in benchmarks/results/combining.part; after an interruption the same command goes on
where it stopped. The tables are written into benchmarks/COMBINING.md, the figures into benchmarks/figures/.
"""

import itertools
import sys
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import mean

import click

from minilora.adapters.model import PeftModel
from minilora.combining.models import merge_models
from minilora.files.atomic import write_text
from minilora.files.shipped import shipped
from minilora.models.pretrained import load_base, load_pretrained
from minilora.tasks.scoring import score
from minilora.tasks.shipped import get_task

from .combining_drawings import draw_knob, draw_rules
from .drawings import markdown, spread
from .experiments import SEEDS, TUNING_SEED
from .options import OneLine
from .paper import with_table
from .rows import Rows
from .running import HERE
from .runs import Run, mean_loss, tokenizer, tune

PAGE = HERE / "COMBINING.md"
RATES = {  # task -> best learning rate of LoRA and of full fine-tuning in results/against-full.json
    "sql": (1e-2, 5e-3),
    "data-to-text": (1e-2, 5e-3),
    "reviews": (5e-3, 2e-3),
}
STYLES = {"style-json": 5e-3, "style-crier": 2e-3}  # two answers to one question, for the knob
R, STEPS = 8, 100
WEIGHTS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0)
DENSITIES = (0.2, 0.5, 0.8)
KNOB = tuple(i / 10 for i in range(11))


@dataclass(frozen=True)
class Rule:
    """of: "adapters" or "models"; name: combination_type or method; rank: svd_rank; densities: to choose from."""

    of: str
    name: str
    rank: int | None = None
    densities: tuple = (None,)

    @property
    def label(self):
        return self.name if self.rank is None else f"{self.name}, r={self.rank}"


RULES = [
    Rule("adapters", "cat"),
    Rule("adapters", "svd", R),
    Rule("adapters", "linear"),
    *(Rule("adapters", name, None, DENSITIES) for name in ("magnitude_prune", "ties", "dare_linear", "dare_ties")),
    *(
        Rule("adapters", name, 3 * R, DENSITIES)
        for name in ("magnitude_prune_svd", "ties_svd", "ties_paper", "dare_linear_svd", "dare_ties_svd")
    ),
    Rule("models", "task_arithmetic"),
    *(Rule("models", name, None, DENSITIES) for name in ("ties", "dare_linear", "dare_ties")),
]


# ---- the trained adapters and models of one seed


@lru_cache(1)
def adapted(seed):  # -> PeftModel with the adapters of RATES and STYLES, named after their tasks
    model = PeftModel(load_base()[0])
    with tempfile.TemporaryDirectory() as folder:
        for task, lr in ({task: rates[0] for task, rates in RATES.items()} | STYLES).items():
            tune(Run(task, "all", R, lr, STEPS, seed=seed)).save_pretrained(Path(folder) / task)
            model.load_adapter(Path(folder) / task, task)
    return model.eval()


@lru_cache(1)
def tuned_folders(seed):  # -> [folder of the model tuned in full on each task of RATES]; the object keeps them alive
    folder = tempfile.TemporaryDirectory()
    for task, (_, lr) in RATES.items():
        tune(Run(task, "full", lr=lr, steps=STEPS, seed=seed)).save_pretrained(Path(folder.name) / task)
    return folder


def combined(rule, weight, density, seed):  # -> model
    weights = [weight] * len(RATES)
    if rule.of == "adapters":
        model = adapted(seed)
        if "mix" in model.peft_config:
            model.delete_adapter("mix")
        model.add_weighted_adapter(
            list(RATES), weights, "mix", rule.name, svd_rank=rule.rank, density=density, seed=seed
        )
        model.set_adapter("mix")
        return model
    folder = Path(tuned_folders(seed).name)
    with tempfile.TemporaryDirectory() as out:
        models = [folder / task for task in RATES]
        merge_models(models, shipped("base"), Path(out) / "mix", rule.name, weights, density, seed)
        return load_pretrained(Path(out) / "mix")


# ---- what is measured


def valid_loss(model):  # -> float, mean over the tasks
    return round(mean(mean_loss(model, get_task(task).examples("valid")) for task in RATES), 6)


def scores_on(model, tasks):  # -> {task: share of right answers}
    of = {task: get_task(task) for task in tasks}
    return {t: round(score(model, tokenizer(), task, task.examples("test"))[0], 6) for t, task in of.items()}


def key(of, rule, seed, **more):
    return {"of": of, "rule": rule, "seed": seed} | more


def choices(rule):
    return itertools.product(WEIGHTS, rule.densities)


def best_choice(rule, store):  # -> weight, density; None while its tuning is not done
    rows = [
        store.find(key(rule.of, rule.label, TUNING_SEED, weight=w, density=d, tuning=True)) for w, d in choices(rule)
    ]
    if None in rows:
        return None
    best = min(rows, key=lambda row: row["valid_loss"])
    return best["weight"], best["density"]


def tune_rule(rule, store):
    for weight, density in choices(rule):
        row = key(rule.of, rule.label, TUNING_SEED, weight=weight, density=density, tuning=True)
        if not store.find(row):
            model = combined(rule, weight, density, TUNING_SEED)
            store.add(row | {"valid_loss": valid_loss(model)})


def measure_seed(seed, store):
    """The rows of one seed: every trained adapter and model on all tasks, every rule, and the knob."""
    missing = [row for row in rows_of(seed, store) if not store.find(row)]
    for row in missing:
        store.add(row | measure(row))


def rows_of(seed, store):  # -> [the part of a row that names it]
    alone = [key(of, f"{task} alone", seed) for of in ("adapters", "models") for task in RATES]
    rules = []
    for rule in RULES:
        weight, density = best_choice(rule, store)
        rules.append(key(rule.of, rule.label, seed, weight=weight, density=density))
    return alone + rules + [key("knob", "set_scale", seed, weight=t) for t in KNOB]


def measure(row):
    seed = row["seed"]
    if row["of"] == "knob":
        model = adapted(seed)
        model.set_adapter(list(STYLES))
        for task, weight in zip(STYLES, (1 - row["weight"], row["weight"]), strict=True):
            model.set_scale(task, weight)
        scores = scores_on(model, STYLES)
        model.unscale_layer()
        return {"scores": scores}
    if row["rule"].endswith(" alone"):
        task = row["rule"].removesuffix(" alone")
        if row["of"] == "adapters":
            adapted(seed).set_adapter(task)
        model = adapted(seed) if row["of"] == "adapters" else load_pretrained(Path(tuned_folders(seed).name) / task)
    else:
        [rule] = [r for r in RULES if (r.of, r.label) == (row["of"], row["rule"])]
        model = combined(rule, row["weight"], row["density"], seed)
    return {"scores": scores_on(model, RATES)}


# ---- the tables


def table(of, store):  # -> Markdown
    lines = []
    for label in dict.fromkeys(row["rule"] for row in store.rows if row["of"] == of and "scores" in row):
        rows = [row for row in store.rows if (row["of"], row["rule"]) == (of, label) and "scores" in row]
        chosen = [rows[0].get(name) for name in ("weight", "density")]
        cells = [label, *("" if value is None else f"{value:g}" for value in chosen)]
        cells += [spread([row["scores"][task] for row in rows], 3) for task in RATES]
        lines.append([*cells, spread([mean(row["scores"].values()) for row in rows], 3)])
    return markdown(["", "weight", "density", *RATES, "mean"], lines)


def knob_table(store):
    lines = []
    for t in KNOB:
        rows = [row for row in store.rows if row["of"] == "knob" and row["weight"] == t]
        scores = [spread([row["scores"][task] for row in rows], 3) for task in STYLES]
        lines.append([f"{1 - t:.1f}", f"{t:.1f}", *scores])
    return markdown([*STYLES, *(f"scored as {style}" for style in STYLES)], lines)


def results():
    return Rows(
        HERE / "results" / "combining.json", command="python -m benchmarks.combining", seeds=list(SEEDS),
        tuning_seed=TUNING_SEED,
    )  # fmt: skip


def page_with_tables(page, store):
    for name in ("adapters", "models"):
        page = with_table(page, name, table(name, store))
    return with_table(page, "knob", knob_table(store))


@click.command(cls=OneLine)
def main():
    """Measure what the result file lacks, draw the figures, and write the tables into benchmarks/COMBINING.md."""
    store = results()
    for rule in RULES:
        print(f"tuning {rule.of}: {rule.label}", file=sys.stderr, flush=True)
        tune_rule(rule, store)
    for seed in SEEDS:
        print(f"seed {seed}", file=sys.stderr, flush=True)
        measure_seed(seed, store)
    store.finish()
    draw_rules(store, list(RATES), HERE / "figures" / "combining.png")
    draw_knob(store, list(STYLES), HERE / "figures" / "knob.png")
    write_text(PAGE, page_with_tables(PAGE.read_text(encoding="utf-8"), store))


if __name__ == "__main__":
    main()
