"""Phi-3: Llama's decoder with fused matrices. Beside transformers: tests/reference/test_models.py."""

import numpy as np
import pytest
from tiny import SIZES, random_ids

import minilora as ml
from minilora.errors import ConfigError
from minilora.models.llama import LlamaConfig, LlamaForCausalLM
from minilora.models.phi3 import Phi3ForCausalLM
from minilora.models.pretrained import config_from_json, config_to_json

CONFIG = LlamaConfig(**SIZES | {"model_type": "phi3", "num_key_value_heads": 2})


def filled(model, seed=0):
    generator = np.random.default_rng(seed)
    for p in model.parameters():
        p.assign(generator.normal(0, 0.3, p.shape).astype(np.float32))
    return model.eval()


def test_it_computes_what_a_llama_with_the_parts_of_its_matrices_computes():
    phi, llama = filled(Phi3ForCausalLM(CONFIG)), LlamaForCausalLM(CONFIG)
    H, K = (n * CONFIG.head_dim for n in (CONFIG.num_attention_heads, CONFIG.num_key_value_heads))
    weights = {name: p.data for name, p in phi.named_parameters()}
    for name in [n for n in weights if "qkv" in n or "gate_up" in n]:
        fused, m = weights.pop(name), CONFIG.intermediate_size
        parts = np.split(fused, [H, H + K]) if "qkv" in name else np.split(fused, [m])
        names = ("q_proj", "k_proj", "v_proj") if "qkv" in name else ("gate_proj", "up_proj")
        stem = name.replace("qkv_proj", "{}").replace("gate_up_proj", "{}")
        weights |= {stem.format(part): array for part, array in zip(names, parts, strict=True)}
    for name, p in llama.named_parameters():
        p.assign(weights[name])
    ids = random_ids(shape=(2, 7))
    np.testing.assert_allclose(phi(ids).numpy(), llama.eval()(ids).numpy(), atol=1e-5)


def test_an_adapter_goes_on_its_fused_matrices():
    model = ml.get_peft_model(
        filled(Phi3ForCausalLM(CONFIG)), ml.LoraConfig(r=2, target_modules=["qkv_proj", "gate_up_proj"])
    )
    assert sum(p.requires_grad for p in model.parameters()) == 2 * 2 * CONFIG.num_hidden_layers


def test_its_configuration_is_stored_and_read_again():
    assert config_from_json(config_to_json(CONFIG)) == CONFIG


@pytest.mark.parametrize(
    "change",
    [{"rope_scaling": {"type": "longrope", "short_factor": [1], "long_factor": [2]}}, {"partial_rotary_factor": 0.75}],
)
def test_what_it_does_not_compute_is_refused_by_name(change):
    with pytest.raises(ConfigError, match="longrope|partial_rotary_factor"):
        config_from_json(config_to_json(CONFIG) | change)
