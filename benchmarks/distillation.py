"""`python -m benchmarks.distillation`: students of a teacher, beside students of the same examples' labels.

For each task a teacher, LoRA on all linear layers, is trained on the whole training split. Its students have the same
shape and see 64 examples: one kind learns their labels, the other the teacher's probabilities of the same tokens. Every
run is saved at once in benchmarks/results/distillation.part; after an interruption the same command goes on where it
stopped. It draws the figure and writes the table into benchmarks/DISTILLATION.md.
"""

from functools import lru_cache
from statistics import mean

import click
import numpy as np

from minilora.display.plots import COLOURS
from minilora.files.atomic import write_text
from minilora.tasks.scoring import score
from minilora.tasks.shipped import get_task
from minilora.text.batches import PairBatches
from minilora.training.distillation import Distillation
from minilora.training.loop import own_loss
from minilora.training.optim import AdamW, linear_decay
from minilora.training.resume import trained
from minilora.training.run import run_training

from .drawings import MARKERS, METRICS, markdown, panels, spread
from .experiments import SEEDS, TUNING_SEED
from .options import OneLine
from .paper import with_table
from .pool import fill, processes, workers_option
from .rows import Rows
from .running import HERE, progress
from .runs import Run, build, mean_loss, tokenizer, training_examples, tune

PAGE = HERE / "DISTILLATION.md"
TASKS = {"sql": 1e-2, "data-to-text": 1e-2, "reviews": 5e-3}  # -> the teacher's learning rate, as in against-full
EXAMPLES, TEMPERATURE = 64, 4.0
RATES = (2e-3, 5e-3, 1e-2, 2e-2)
WAYS = ("labels", "teacher")


def results(folder=HERE / "results"):
    return Rows(
        folder / "distillation.json", command="python -m benchmarks.distillation", seeds=list(SEEDS),
        tuning_seed=TUNING_SEED,
    )  # fmt: skip


@lru_cache(1)
def teacher_of(task):  # -> PeftModel
    return tune(Run(task, "all", 8, TASKS[task], steps=100, seed=TUNING_SEED)).eval()


def student(run, way):  # -> model
    """As `runs.tune`, with what is minimised by `way`."""
    model = build(run)
    rng = np.random.default_rng([run.seed, 1])
    batches = PairBatches(training_examples(run), tokenizer(), run.batch, model.config.max_position_embeddings, rng)
    optimizer = AdamW([p for _, p in trained(model)], lr=run.lr, weight_decay=0.0)
    loss_of = Distillation(teacher_of(run.task), TEMPERATURE, mix=1.0) if way == "teacher" else own_loss
    schedule = linear_decay(run.steps, run.steps // 6)
    run_training(model, batches, optimizer, run.steps, schedule=schedule, loss_of=loss_of)
    return model


def measures(model, task):  # -> {test_loss, score}
    examples = get_task(task).examples("test")
    found = score(model, tokenizer(), get_task(task), examples)[0]
    return {"test_loss": round(mean_loss(model, examples), 6), "score": round(found, 6)}


def measure(key):  # {task, way, lr, seed, tuning} -> {measure: number}
    if key["way"] == "the teacher itself":
        return measures(teacher_of(key["task"]), key["task"])
    model = student(Run(key["task"], "all", 8, key["lr"], examples=EXAMPLES, seed=key["seed"]), key["way"])
    if key["tuning"]:
        return {"valid_loss": round(mean_loss(model, get_task(key["task"]).examples("valid")), 6)}
    return measures(model, key["task"])


def key_of(task, way, lr, seed, tuning=False):
    return {"task": task, "way": way, "lr": lr, "seed": seed, "tuning": tuning}


def key_of_teacher(task):
    return key_of(task, "the teacher itself", TASKS[task], TUNING_SEED)


def best_rate(task, way, store):
    """The learning rate with the lowest validation loss of seed TUNING_SEED."""
    losses = {lr: store.find(key_of(task, way, lr, TUNING_SEED, tuning=True))["valid_loss"] for lr in RATES}
    return min(losses, key=losses.get)


def run_all(store, workers=1):
    each_task = 1 + len(WAYS) * (len(RATES) + len(SEEDS))
    with progress(len(TASKS) * each_task) as step, processes(workers) as each:

        def measured(*keys):
            fill(store, measure, [(key, (key,), f"{key['task']}, {key['way']}") for key in keys], each, step)

        for task in TASKS:
            measured(key_of_teacher(task))
            for way in WAYS:
                measured(*(key_of(task, way, lr, TUNING_SEED, tuning=True) for lr in RATES))
                lr = best_rate(task, way, store)
                measured(*(key_of(task, way, lr, seed) for seed in SEEDS))
    store.finish()


def rows_of(task, way, store):
    """The rows of all seeds."""
    return [store.find(key_of(task, way, best_rate(task, way, store), seed)) for seed in SEEDS]


def table(store):  # -> Markdown
    lines = []
    for task in TASKS:
        for way in WAYS:
            rows = rows_of(task, way, store)
            scores, losses = ([row[name] for row in rows] for name in ("score", "test_loss"))
            lines.append([task, f"64 examples, {way}", f"{rows[0]['lr']:g}", spread(scores, 3), spread(losses, 4)])
        row = store.find(key_of_teacher(task))
        lines.append([task, row["way"], f"{row['lr']:g}", f"{row['score']:.3f}", f"{row['test_loss']:.4f}"])
    return markdown(["task", "learned from", "learning rate", "score", "test loss"], lines)


def draw(store, path):
    """A dot for every seed, a bar at their mean, a dashed line for the teacher."""
    with panels(path, 2, 13, 5.8) as both:
        for axes, metric in zip(both, ("score", "test_loss"), strict=True):
            for place, task in enumerate(TASKS):
                axes.hlines(store.find(key_of_teacher(task))[metric], place - 0.4, place + 0.4, color="black",
                            linestyle="--", linewidth=2, label=None if place else "the teacher itself")  # fmt: skip
                for i, way in enumerate(WAYS):
                    at, numbers = place + (i - 0.5) * 0.4, [row[metric] for row in rows_of(task, way, store)]
                    across = [at + 0.05 * (k - (len(numbers) - 1) / 2) for k in range(len(numbers))]
                    axes.plot(across, numbers, MARKERS[i], color=COLOURS[i], markersize=9, alpha=0.8,
                              label=None if place else f"64 examples, {way}")  # fmt: skip
                    axes.hlines(mean(numbers), at - 0.18, at + 0.18, color="black", linewidth=3)
            axes.set_xticks(range(len(TASKS)), list(TASKS), fontsize=14)
            axes.set_ylabel(METRICS[metric])
            axes.set_ylim(0, 1.02 if metric == "score" else None)
            axes.grid(alpha=0.3)
        both[1].legend(loc="best")
        both[0].figure.suptitle(f"{len(SEEDS)} seeds: a dot a seed, a line their mean", fontsize=16)


@click.command(cls=OneLine)
@workers_option
def main(workers):
    """Measure the missing runs, draw the figure and write the table into the page."""
    store = results()
    run_all(store, workers)
    draw(store, HERE / "figures" / "distillation.png")
    write_text(PAGE, with_table(PAGE.read_text(encoding="utf-8"), "distillation", table(store)))
    click.echo(table(store))


if __name__ == "__main__":
    main()
