"""A model with adapters of every method that can be in a mixed batch."""

import warnings
from dataclasses import replace

import numpy as np
from tiny import random_ids, tiny_llama

import minilora as ml
from minilora.adapters.mixed import BASE

NAMES = [
    "lora", BASE, "dora", "vera", "lora", "ia3", "rs", "embedded", "saved", "pissa", BASE, "wide", "biased", "vera2",
    "ia3b", "vera3", "ada", "vera2",
]  # fmt: skip
IDS = random_ids(3, (len(NAMES), 7))


def many_adapters(make=tiny_llama, dtype=np.float64):
    """A model with adapters of every method that acts on layers, of several ranks and targets, none of them zero."""
    llama = make is tiny_llama
    model = make(dtype=dtype) if llama else make()
    attention, mlp = (["q_proj", "v_proj"], ["down_proj"]) if llama else (["c_attn", "attn.c_proj"], ["mlp.c_proj"])
    table = "embed_tokens" if llama else "wte"
    random = {"init_lora_weights": False}
    configs = {
        "lora": ml.LoraConfig(r=3, lora_alpha=5, target_modules=attention, **random),
        "wide": ml.LoraConfig(r=3, lora_alpha=7, target_modules=attention, rank_pattern={attention[0]: 5}, **random),
        "rs": ml.LoraConfig(r=4, lora_alpha=6, target_modules=mlp, use_rslora=True, **random),
        "dora": ml.LoraConfig(r=3, lora_alpha=4, target_modules=attention, use_dora=True, **random),
        "embedded": ml.LoraConfig(r=2, lora_alpha=3, target_modules=[table, *mlp], **random),
        "saved": ml.LoraConfig(r=2, lora_alpha=3, target_modules=mlp, modules_to_save=["lm_head"], **random),
        "biased": ml.LoraConfig(r=3, lora_alpha=4, target_modules=attention, lora_bias=True, **random),
        "pissa": ml.LoraConfig(r=2, lora_alpha=3, target_modules=attention, init_lora_weights="pissa"),
        "vera": ml.VeraConfig(r=4, target_modules=mlp, init_weights=False),
        "vera2": ml.VeraConfig(r=4, target_modules=mlp, init_weights=False),  # the same A and B, other vectors
        "vera3": ml.VeraConfig(r=4, target_modules=mlp, init_weights=False, projection_prng_key=1),
        "ada": ml.AdaLoraConfig(init_r=3, target_r=2, lora_alpha=5, target_modules=attention, **random),
        "ia3b": ml.IA3Config(target_modules=attention, feedforward_modules=[], init_ia3_weights=False),
        "ia3": ml.IA3Config(target_modules=[*attention, *mlp], feedforward_modules=mlp, init_ia3_weights=False),
    }
    if not llama:
        configs = {name: replace(config, fan_in_fan_out=True) for name, config in configs.items()}
    wrapped = ml.get_peft_model(model, configs["lora"], "lora", seed=1)
    for seed, (name, config) in enumerate(configs.items(), start=2):
        if name != "lora":
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".* has no bias, so this adapter cannot be merged")
                wrapped.add_adapter(name, config, seed)
    rng = np.random.default_rng(5)
    for name, p in wrapped.named_parameters():
        if any(part in name for part in (".pissa.", ".saved.", "lora_B.biased.bias", "magnitude")):  # off their start
            p.data = p.data + (0.3 * rng.standard_normal(p.shape)).astype(p.dtype)
    return wrapped.eval()
