"""The same model here and in transformers, on the same device: one set of random weights, and one adapter."""

import dataclasses

import numpy as np

from minilora.files.config_json import fields_to_json
from minilora.models.llama import LlamaConfig, LlamaForCausalLM

from ..models import Size, config_of, with_adapter


def random_weights(config: LlamaConfig) -> dict:  # -> {name: host array}
    """Values for a model: its norms are 1, its matrices normal with a standard deviation of 0.02."""
    rng = np.random.default_rng(0)
    parameters = LlamaForCausalLM(config).named_parameters()
    return {
        name: rng.standard_normal(p.shape, dtype=np.float32) * np.float32(0.02)
        if len(p.shape) == 2
        else np.ones(p.shape, np.float32)
        for name, p in parameters
    }


def base_here(config: LlamaConfig, weights: dict) -> LlamaForCausalLM:
    """This package's model with these arrays, still on the host."""
    model = LlamaForCausalLM(config)
    for name, p in model.named_parameters():
        p.data = weights[name]
    return model.train()


def base_there(config: LlamaConfig, weights: dict):
    """transformers' model with these values, on the device."""
    import torch
    from transformers import LlamaConfig as TheirConfig
    from transformers import LlamaForCausalLM as TheirModel

    with torch.device(torch_device()):
        theirs = TheirModel(TheirConfig(**fields_to_json(dataclasses.asdict(config))))
    missing, extra = theirs.load_state_dict({n: torch.from_numpy(w) for n, w in weights.items()}, strict=False)
    assert missing in ([], ["lm_head.weight"]) and not extra  # the head is the embedding
    return theirs.train()


def torch_device() -> str:
    """ "cuda"; "cpu" where torch has no device: the tests run the code there."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def both(size: Size, weights: dict, targets=None, r: int = 8):  # -> model here, model there, on the device
    """The base on both sides; with targets, a LoRA adapter beside it, B != 0, and a frozen base."""
    import minilora as ml

    config = config_of("llama", size)
    model, theirs = base_here(config, weights), base_there(config, weights)
    if targets is not None:
        lora = ml.LoraConfig(r=r, lora_alpha=2 * r, target_modules=targets, task_type="CAUSAL_LM")
        model, theirs = with_adapter(model, theirs, lora)
    return model.to("cuda"), theirs
