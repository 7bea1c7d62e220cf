"""Lesson 9: which matrices at an equal budget, and which rank on q and v; after a short and after a long training, on a
task that is new to the base and on one that is close to its knowledge.

    python -m lessons.sweeps.which_matrices
"""

import click
import numpy as np

from benchmarks.pool import workers_option
from minilora import LoraConfig, get_peft_model
from minilora.course.lab.low_rank import similarity
from minilora.course.lab.tune import load_base, test_loss, test_score, tune

from .common import Sweep

LR, ALPHA, SEEDS = 1e-2, 16, (0, 1, 2, 3, 4)
NEW, NEAR = "sql", "style-json"  # a language that the base has never seen; sentences that it knows, in JSON
BUDGET, SHORT, LONG, LONGEST = 8000, 60, 300, 1500
SETS = ("q", "k", "v", "o", "q,k", "q,v", "q,k,v,o", "gate", "down")
RANKS = (1, 2, 4, 8, 64)


def names(short):  # "q,v" -> ["q_proj", "v_proj"]
    return [f"{name}_proj" for name in short.split(",")]


def rank_within_budget(model, targets):  # -> the largest rank on all those matrices
    layers = [m for path, m in model.named_modules() if path.rpartition(".")[2] in names(targets)]
    return BUDGET // sum(sum(m.shape) for m in layers)


def settings(model):  # -> task, targets, r, steps
    for steps in (SHORT, LONG):
        yield from ((NEW, targets, rank_within_budget(model, targets), steps) for targets in SETS)
        yield from ((NEW, "q,v", r, steps) for r in RANKS if r != rank_within_budget(model, "q,v"))
    yield from ((NEAR, "q,v", r, SHORT) for r in RANKS)
    yield NEW, "q,v", RANKS[0], LONGEST


def run(task, targets, r, steps, seed):  # -> model, row
    model, tokenizer = load_base()
    model = get_peft_model(model, LoraConfig(r=r, lora_alpha=ALPHA, target_modules=names(targets)), seed=seed)
    tune(model, tokenizer, task, steps, LR, seed)
    return model, {
        "task": task,
        "targets": targets,
        "r": r,
        "steps": steps,
        "seed": seed,
        "parameters": model.get_nb_trainable_parameters()[0],
        "score": test_score(model, tokenizer, task),
        "loss": test_loss(model, tokenizer, task),
    }


def directions():
    """Figure 3 of the paper in small: what the A of rank 8 and the A of rank 64 have in common, and two seeds at 64."""
    eight, sixty_four, other = (run(NEW, "q,v", r, LONG, seed)[0] for r, seed in ((8, 0), (64, 0), (64, 1)))
    path = "base_model.model.model.layers.1.self_attn.{}.lora_A.default.weight"
    grids = {}
    for name in names("q,v"):
        a8, a64, b64 = (dict(m.named_parameters())[path.format(name)].data for m in (eight, sixty_four, other))
        pairs = {"ranks 8 and 64": (a8, a64), "two seeds": (a64, b64)}
        grids[name] = {pair: np.round(similarity(*both, 8), 5).tolist() for pair, both in pairs.items()}
    return grids


def rows(**setting):
    return [run(**setting)[1]]


@click.command()
@workers_option
def main(workers):
    sweep = Sweep("which_matrices", SEEDS)
    named = [
        {"task": task, "targets": targets, "r": r, "steps": steps, "seed": seed}
        for task, targets, r, steps in settings(load_base()[0])
        for seed in SEEDS
    ]
    sweep.measure(rows, named, workers)
    sweep.finish(similarity=directions())


if __name__ == "__main__":
    main()
