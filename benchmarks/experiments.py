"""The runs of each experiment. A setting is one way to tune. First its learning rate is chosen, by the loss (see
`tuned_by`) with TUNING_SEED; then it is measured on the test split with each of SEEDS."""

import math
from dataclasses import dataclass, replace

from .runs import Run, row_key, tuned_by

SEEDS, TUNING_SEED = (0, 1, 2, 3, 4), 100
TASK = "sql"
LORA_RATES, FULL_RATES = (2e-3, 5e-3, 1e-2, 2e-2, 5e-2), (5e-4, 1e-3, 2e-3, 5e-3, 1e-2)
HIGH_RATES = (5e-3, 1e-2, 2e-2, 5e-2, 1e-1)  # for few parameters


@dataclass(frozen=True)
class Setting:
    """label: its name in tables and figures; x: its place on the axis, or None; rates: one, or those to choose from."""

    label: str
    x: float | str | None
    run: Run
    rates: tuple


def lora(targets, r, **more):
    return Run(more.pop("task", TASK), targets, r, **more)


def full(**more):
    return Run(more.pop("task", TASK), "full", **more)


def which_matrices():
    """Table 5: one budget of 7,168 parameters (6,912 for k or v alone: their matrices are smaller here)."""
    sets = {"q": 7, "k": 9, "v": 9, "o": 7, "q,k": 4, "q,v": 4, "q,k,v,o": 2}
    return [Setting(f"{targets}, r={r}", None, lora(targets, r), HIGH_RATES) for targets, r in sets.items()]


def rank():
    """Table 6: ranks 1 to 64 on q and v, and on all four."""
    ranks = (1, 2, 4, 8, 64)
    return [Setting(targets, r, lora(targets, r), HIGH_RATES) for targets in ("q,v", "q,k,v,o") for r in ranks]


def learning_rate():
    """The whole curve for full fine-tuning and for LoRA of three ranks, finer near the minimum."""
    of_full = (2e-4, 5e-4, 1e-3, 1.5e-3, 2e-3, 3e-3, 5e-3, 7e-3, 1e-2)
    of_lora = (1e-3, 2e-3, 5e-3, 7e-3, 1e-2, 1.5e-2, 2e-2, 5e-2)
    settings = [Setting("full", lr, full(), (lr,)) for lr in of_full]
    return settings + [Setting(f"LoRA, r={r}", lr, lora("all", r), (lr,)) for r in (1, 8, 64) for lr in of_lora]


def which_layers():
    """Attention, MLP and all at equal count: 46,592, 46,080 and 46,720 parameters, then 28,672, 28,800 and 28,032."""
    budgets = {"46,000": (13, 8, 5), "28,000": (8, 5, 3)}
    return [
        Setting(f"{targets}, {budget}", None, lora(targets, r), LORA_RATES)
        for budget, ranks in budgets.items()
        for targets, r in zip(("attention", "mlp", "all"), ranks, strict=True)
    ]


def capacity():
    """Facts to be learned by heart, more and more of them, each read 32 times."""
    settings = []
    for n in (39, 156, 624):
        shared = {"task": "bare-json", "steps": 2 * n, "examples": n}  # 16 in a step
        for targets, r in (("q,v", 1), ("q,v", 4), ("all", 1), ("all", 8)):
            settings.append(Setting(f"{targets}, r={r}", n, lora(targets, r, **shared), LORA_RATES))
        settings.append(Setting("full", n, full(**shared), FULL_RATES))
    return settings


def batch_size():
    """960 examples seen in 240, 60 or 15 steps; the learning rate chosen for each."""
    settings = []
    for batch in (4, 16, 64):
        seen = {"batch": batch, "steps": 960 // batch}
        settings.append(Setting("LoRA, r=8", batch, lora("all", 8, **seen), LORA_RATES))
        settings.append(Setting("full", batch, full(**seen), FULL_RATES))
    return settings


def against_full():
    """Every shipped task that can be learned: LoRA of rank 8 on all linear layers, and full fine-tuning."""
    of_lora, of_full = (1e-3, *LORA_RATES), (2e-4, *FULL_RATES)
    settings = []
    for task in ("sql", "data-to-text", "reviews", "style-json", "style-crier"):
        settings.append(Setting("LoRA, r=8", task, lora("all", 8, task=task, steps=100), of_lora))
        settings.append(Setting("full", task, full(task=task, steps=100), of_full))
    return settings


EXPERIMENTS = {  # name -> its settings
    "against-full": against_full, "which-matrices": which_matrices, "rank": rank, "learning-rate": learning_rate,
    "which-layers": which_layers, "capacity": capacity, "batch-size": batch_size,
}  # fmt: skip


def tuning_runs(setting):  # -> [Run], one for each learning rate to choose from
    return [replace(setting.run, lr=lr, seed=TUNING_SEED) for lr in setting.rates] if len(setting.rates) > 1 else []


def best_rate(setting, store):  # -> learning rate; None while its tuning is not done
    """The one with the lowest loss (see `tuned_by`); the smaller of two that tie. A rate that overflowed is out."""
    rows = [store.find(row_key(run, tuning=True)) for run in tuning_runs(setting)]
    if None in rows:
        return None
    losses = {row["lr"]: row[tuned_by(setting.run)] for row in rows}
    losses = {lr: math.inf if loss is None else loss for lr, loss in losses.items()}
    return min(losses, key=lambda lr: (losses[lr], lr)) if losses else setting.rates[0]


def final_runs(setting, store):  # -> [Run], one for each seed; none while the learning rate is not chosen
    lr = best_rate(setting, store)
    return [] if lr is None else [replace(setting.run, lr=lr, seed=seed) for seed in SEEDS]
