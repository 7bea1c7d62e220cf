"""The Llama family: its names, its windows, and which sizes fit."""

import numpy as np
import pytest
from tiny import SIZES, empty_llama, random_ids, tiny_llama

from minilora.errors import ConfigError
from minilora.models.llama import LlamaConfig


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
