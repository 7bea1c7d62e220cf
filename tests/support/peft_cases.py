"""Adapter folders for the tests of PEFT's format: made, edited, loaded."""

import json
from pathlib import Path

import numpy as np
from tiny import tiny_llama

import minilora as ml
from minilora import LoraConfig, PeftModel
from minilora.files.safetensors import read_tensors, write_tensors

GOLDEN = Path(__file__).parents[1] / "golden"
EXAMPLES = json.loads((GOLDEN / "peft_ondisk_examples.json").read_text(encoding="utf-8"))
ROOT = "base_model.model."
Q0 = "model.layers.0.self_attn.q_proj"


def base(name):
    return ml.load_pretrained(GOLDEN / name / "base")


def saved(folder, targets=("q_proj",), **options):
    """A model with a random adapter, saved in `folder`."""
    config = LoraConfig(
        **{"r": 3, "lora_alpha": 5, "target_modules": list(targets), "init_lora_weights": False} | options
    )
    model = ml.get_peft_model(tiny_llama(), config, seed=1)
    for name, p in model.named_parameters():
        if ".modules_to_save." in name:
            p.data = p.data * np.float32(1.5)
    model.save_pretrained(folder)
    return model


def edit_config(folder, remove=(), **values):
    path = folder / "adapter_config.json"
    data = {k: v for k, v in json.loads(path.read_text(encoding="utf-8")).items() if k not in remove} | values
    path.write_text(json.dumps(data), encoding="utf-8")


def edit_tensors(folder, change):
    path = folder / "adapter_model.safetensors"
    tensors = read_tensors(path)
    write_tensors(path, change(tensors) or tensors)


def load(folder, model=None):
    return PeftModel.from_pretrained(model or tiny_llama(), folder)


def write_bfloat16(path, tensors):
    """A safetensors file of the upper halves of float32 numbers, made by hand."""
    header, data = {}, b""
    for name, array in tensors.items():
        raw = (array.view(np.uint32) >> 16).astype("<u2").tobytes()
        header[name] = {"dtype": "BF16", "shape": array.shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
