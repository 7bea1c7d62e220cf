"""Small models for tests: every width differs from every other, so that a swapped axis shows."""

import numpy as np

from minilora.adapters.model import get_peft_model
from minilora.methods.lora import LoraConfig
from minilora.models.gpt2 import GPT2Config, GPT2LMHeadModel
from minilora.models.llama import LlamaConfig, LlamaForCausalLM

SIZES = {
    "vocab_size": 29,
    "hidden_size": 16,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 6,  # q_proj 16 -> 24, k_proj and v_proj 16 -> 12, o_proj 24 -> 16
}

GPT2 = {"vocab_size": 29, "n_embd": 12, "n_layer": 2, "n_head": 3, "n_positions": 32, "n_inner": 20}


def tiny_llama(seed=0, dtype=np.float32, spread=6.0, **sizes):
    """A filled model. spread: how much larger than usual its matrices are; its next tokens are then no near ties."""
    model = LlamaForCausalLM(LlamaConfig(**{**SIZES, **sizes})).init(seed, dtype)
    rng = np.random.default_rng([seed, 1])
    for p in model.parameters():
        p.data = p.data * dtype(spread) if p.ndim == 2 else rng.uniform(0.5, 1.5, p.shape).astype(dtype)
    return model


def empty_llama(**sizes):
    """A model of these sizes whose weights are not filled."""
    return LlamaForCausalLM(LlamaConfig(**{**SIZES, **sizes}))


def tiny_gpt2(seed=0, **sizes):
    model = GPT2LMHeadModel(GPT2Config(**GPT2 | sizes)).init(seed)
    rng = np.random.default_rng([seed, 1])
    for p in model.parameters():
        p.data = (p.data * 9 + rng.standard_normal(p.shape) * 0.1).astype(np.float32)
    return model


def with_lora(model, targets=("q_proj", "v_proj"), r=3, alpha=5, dropout=0.0, seed=1, transposed=False):
    """`model` frozen in a PeftModel, with an adapter of B != 0 beside every module that `targets` names."""
    targets = targets if isinstance(targets, str) else list(targets)
    config = LoraConfig(
        r=r,
        lora_alpha=alpha,
        target_modules=targets,
        lora_dropout=dropout,
        init_lora_weights=False,
        fan_in_fan_out=transposed,  # GPT-2's layers
    )
    return get_peft_model(model, config, seed=seed)


def adapted_paths(model=None, **options):
    """The paths that get an adapter of rank 2 with these options of LoraConfig, in order."""
    model = get_peft_model(model or tiny_llama(), LoraConfig(r=2, **options))
    return [layer.path for layer in model.base_model.layers]


def random_ids(seed=0, shape=(2, 7), vocab=SIZES["vocab_size"]):
    return np.random.default_rng(seed).integers(0, vocab, shape, dtype=np.int64)
