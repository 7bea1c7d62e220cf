"""Adapters that PEFT loads although something is wrong with them, for the tests that keep lessons/peft.md honest.

Each trap changes a sound adapter (q_proj and down_proj, r 3, alpha 5) in the folder `my-adapter`.
"""

import numpy as np
from checkpoints import edit_json

from minilora.files.safetensors import read_tensors, write_tensors

ROOT = "base_model.model."
DOWN = ROOT + "model.layers.1.mlp.down_proj"


def _config(**changes):
    return lambda folder: edit_json(folder / "adapter_config.json", **changes)


def _tensors(change):
    def apply(folder):
        path = folder / "adapter_model.safetensors"
        tensors = read_tensors(path)
        write_tensors(path, change(tensors) or tensors)

    return apply


def _without_prefix(tensors):
    return {name.removeprefix(ROOT): a for name, a in tensors.items()}


def _without_a_b(tensors):
    del tensors[f"{DOWN}.lora_B.weight"]


def _with_a_magnitude(tensors):
    tensors[f"{DOWN}.lora_magnitude_vector"] = np.full(16, 2, np.float32)


def _with_a_foreign_head(tensors):
    rng = np.random.default_rng(9)
    tensors[f"{ROOT}lm_head.lora_A.weight"] = rng.standard_normal((3, 16), dtype=np.float32)
    tensors[f"{ROOT}lm_head.lora_B.weight"] = np.zeros((29, 3), np.float32)
    tensors[f"{ROOT}lm_head.base_layer.weight"] = rng.standard_normal((29, 16), dtype=np.float32)


def _with_a_nan(tensors):
    tensors[f"{DOWN}.lora_A.weight"][0, 0] = np.nan


def _foreign_head(folder):
    _tensors(_with_a_foreign_head)(folder)
    _config(target_modules=["q_proj", "down_proj", "lm_head"])(folder)


TRAPS = {  # heading on the page -> (change, whether PEFT warns, whether it then computes something else)
    "The scale is missing": (_config(lora_alpha=...), False, True),
    "The targets are missing": (_config(target_modules=...), True, True),
    "The targets name half of the modules": (_config(target_modules=["q_proj"]), False, True),
    "The names lack their prefix": (_tensors(_without_prefix), True, True),
    "A matrix is missing": (_tensors(_without_a_b), True, True),
    "DoRA without its flag": (_tensors(_with_a_magnitude), False, False),
    "A feature of a later version": (_config(use_next_years_idea=True), True, False),
    "A number that is none": (_tensors(_with_a_nan), False, True),
    "The head of another base": (_foreign_head, False, True),
}
