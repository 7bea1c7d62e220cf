"""`python -m benchmarks.step --method NAME[,NAME]`: a training step of a method, here and in PEFT, beside LoRA's.

All four steps take turns in one process. Every linear layer is adapted with rank 8; IA3 adapts its default layers,
prefix and prompt tuning add 20 places. Both sides train one model from one start; AdaLoRA prunes after each. "MiB"
is what NumPy has allocated at the peak of a step here, less what it had before.
"""

import tracemalloc

import numpy as np

from minilora.adapters.registry import config_named
from minilora.methods.lora_plus import loraplus_groups
from minilora.training.optim import AdamW

from .floor import interleaved
from .models import SIZES, batch, in_both

RATE, RATIO = 1e-4, 16.0  # of LoRA+
TOTAL = 10_000  # steps that AdaLoRA is told, far more than are measured


def config_of(method):
    return config_named(
        method, r=8, lora_alpha=16, target_modules=None if method == "ia3" else "all-linear", target_r=8, init_r=12,
        total_step=TOTAL, num_virtual_tokens=20, prompt_tuning_init="SAMPLE_VOCAB", task_type="CAUSAL_LM",
    )  # fmt: skip


def measure_method(method, size_name, threads, repeats):  # -> dict, times in milliseconds
    import torch

    torch.set_num_threads(threads)
    size = SIZES[size_name]
    steps = {}
    for name in dict.fromkeys(("lora", method)):
        here, there = in_both("llama", size, config_of(name))
        steps[name, "here"] = step_here(name, here, *batch(size))
        steps[name, "torch"] = step_there(name, there, *batch(size))
    times = interleaved(steps, repeats, threads)
    here, theirs = times[method, "here"], times[method, "torch"]
    losses = {side: steps[method, side]() for side in ("here", "torch")}
    return {
        "method": method, "size": size_name,
        "here": milliseconds(here), "torch": milliseconds(theirs), "lora": milliseconds(times["lora", "here"]),
        "here/lora": ratio(here, times["lora", "here"]), "here/torch": ratio(here, theirs),
        "lora/torch": ratio(times["lora", "here"], times["lora", "torch"]),
        "quartiles": np.quantile(here / times["lora", "here"], (0.25, 0.75)).tolist(),
        "mib": peak_mib(steps[method, "here"]), "lora_mib": peak_mib(steps["lora", "here"]),
        "loss_difference": abs(losses["here"] - losses["torch"]),
    }  # fmt: skip


def step_here(method, model, ids, labels):  # -> function () -> loss, AdaLoRA's penalty in it
    plus = method == "lora_plus"
    trained = loraplus_groups(model, RATE, RATIO) if plus else [p for p in model.parameters() if p.requires_grad]
    optimizer, count = AdamW(trained, lr=RATE), 0

    def step():
        nonlocal count
        count += 1
        losses = [model.loss(ids, labels)]
        if (penalty := model.penalty()) is not None:
            losses.append(penalty)
        for loss in losses:
            loss.backward()
        optimizer.step()
        model.after_step(count)
        optimizer.zero_grad()
        return sum(loss.item() for loss in losses)

    return step


def step_there(method, model, ids, labels):  # -> function () -> the same
    import torch
    from peft.optimizers import create_loraplus_optimizer

    if method == "lora_plus":
        optimizer = create_loraplus_optimizer(model, torch.optim.AdamW, lr=RATE, loraplus_lr_ratio=RATIO)
    else:
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=RATE)
    tensors = {"input_ids": torch.from_numpy(ids), "labels": torch.from_numpy(labels)}
    count = 0

    def step():
        nonlocal count
        count += 1
        loss = model(**tensors, use_cache=False).loss
        loss.backward()
        optimizer.step()
        if method == "adalora":
            model.base_model.update_and_allocate(count)
        optimizer.zero_grad()
        return loss.item()

    return step


def milliseconds(times):
    return float(np.median(times)) * 1e3


def ratio(ours, others):  # the median of the ratios of all rounds
    return float(np.median(ours / others))


def peak_mib(step):
    tracemalloc.start()
    try:
        step()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()
