"""The Llama family: its names, its windows, and which sizes fit."""

import numpy as np
import pytest
from tiny import SIZES, empty_llama, random_ids, tiny_llama

from minilora.errors import ConfigError
from minilora.models.llama import LlamaConfig, inverse_frequencies


def test_a_token_that_left_every_window_changes_nothing():
    model = tiny_llama(sliding_window=3, num_hidden_layers=2)
    ids = random_ids(shape=(1, 9))
    changed = ids.copy()
    changed[0, 0] = (ids[0, 0] + 1) % 29
    a, b = model(ids).numpy(), model(changed).numpy()
    np.testing.assert_array_equal(a[0, 5:], b[0, 5:])  # two layers reach back two windows: 2 · (3 - 1) places
    assert abs(a[0, 4] - b[0, 4]).max() > 0


@pytest.mark.parametrize("change, word", [({"num_key_value_heads": 3}, "share"), ({"head_dim": 5}, "head_dim 5")])
def test_sizes_of_a_llama_that_do_not_fit_are_refused(change, word):
    with pytest.raises(ConfigError, match=word):
        LlamaConfig(**SIZES | change)


def test_the_names_of_a_llama_are_those_of_hugging_face():
    block = [
        "self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight", "self_attn.o_proj.weight",
        "mlp.gate_proj.weight", "mlp.up_proj.weight", "mlp.down_proj.weight",
        "input_layernorm.weight", "post_attention_layernorm.weight",
    ]  # fmt: skip
    expected = ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]
    expected += [f"model.layers.{i}.{name}" for i in range(2) for name in block]
    assert sorted(name for name, _ in empty_llama().named_parameters()) == sorted(expected)


LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def frequencies(head_dim, **rope):
    return inverse_frequencies(LlamaConfig(**SIZES | {"head_dim": head_dim, "rope_parameters": rope}))


def test_rotary_frequencies_fall_from_1_by_powers_of_theta():
    expected = [1.0, 100 ** (-1 / 3), 100 ** (-2 / 3)]
    np.testing.assert_allclose(frequencies(6, rope_type="default", rope_theta=100.0), expected, rtol=1e-6)


def test_linear_scaling_divides_every_frequency_by_the_factor():
    plain = frequencies(6, rope_type="default", rope_theta=100.0)
    scaled = frequencies(6, rope_type="linear", rope_theta=100.0, factor=2.5)
    np.testing.assert_allclose(scaled, plain / 2.5, rtol=1e-6)


def test_llama3_scaling_divides_slow_frequencies_by_the_factor_and_leaves_fast_ones():
    plain = frequencies(64, rope_type="default", rope_theta=5e5)
    scaled = frequencies(64, rope_type="llama3", rope_theta=5e5, **LLAMA3)
    assert scaled[0] == plain[0] and scaled[-1] == plain[-1] / 8
    assert ((scaled <= plain) & (scaled >= plain / 8)).all() and (scaled[:-1] > scaled[1:]).all()


def test_llama3_scaling_between_is_a_mix_that_falls_with_the_wavelength():
    plain = frequencies(64, rope_type="default", rope_theta=5e5)
    scaled = frequencies(64, rope_type="llama3", rope_theta=5e5, **LLAMA3)
    turns = 8192 * plain / (2 * np.pi)  # of each pair over the length that the model was trained on
    between = (turns > 1) & (turns < 4)
    assert between.any()
    share = (turns[between] - 1) / 3
    np.testing.assert_allclose(scaled[between], (1 - share) * plain[between] / 8 + share * plain[between], rtol=1e-5)


def test_what_a_config_leaves_out_is_what_transformers_assumes():
    config = LlamaConfig(29, 16, 20, 2, 4)
    assert (config.num_key_value_heads, config.head_dim, config.max_position_embeddings) == (4, 4, 2048)
    assert config.rms_norm_eps == 1e-6 and config.rope_parameters == {"rope_type": "default", "rope_theta": 10000.0}
