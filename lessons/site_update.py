"""Lesson 5's page in the browser: the update of a full fine-tuning on SQL, as its live panel reads it.

    python lessons/site_update.py

Writes lessons/live/update.safetensors: for each of the 28 matrices its best 32 directions, as a LoRA with scale 1 in
float16, and all its singular values.
"""

from pathlib import Path

import numpy as np

from minilora.course.lab.low_rank import matrices, train_only
from minilora.course.lab.tune import load_base, tune
from minilora.files.safetensors import write_tensors
from minilora.files.shipped import base_digest

TASK, STEPS, RATE, SEED = "sql", 150, 1e-3, 3  # as the lesson trains it
KEPT = 32
FILE = Path(__file__).parent / "live" / "update.safetensors"


def update():  # -> {name: ΔW (out, in)}
    model, tokenizer = load_base()
    weights = matrices(model)
    train_only(model, weights)
    before = {name: p.data.copy() for name, p in weights.items()}
    tune(model, tokenizer, TASK, STEPS, RATE, SEED)
    return {name: p.data - before[name] for name, p in weights.items()}


def parts_of(D, path):  # (out, in) -> the tensors of one matrix
    U, s, Vh = np.linalg.svd(D, full_matrices=False)
    lora = {"A": Vh[:KEPT], "B": U[:, :KEPT] * s[:KEPT]}
    named = {
        f"base_model.model.{path}.lora_{letter}.weight": array.astype(np.float16)
        for letter, array in lora.items()
    }
    return named | {f"{path}.sigma": s.astype(np.float32)}


def main():
    tensors = {}
    for name, D in update().items():
        tensors |= parts_of(D, name.removesuffix(".weight"))
    write_tensors(
        FILE, tensors, {"format": "pt", "base": base_digest(), "task": TASK, "seed": str(SEED)}
    )


if __name__ == "__main__":
    main()
