"""GPT-2: its layer that stores weights transposed, and which sizes fit."""

import numpy as np
import pytest
from tiny import GPT2, random_ids, tiny_gpt2

import minilora as ml
from minilora.errors import ConfigError, ShapeError
from minilora.models.gpt2 import Conv1D, GPT2Config


def test_conv1d_is_a_linear_layer_that_stores_its_weight_transposed(rng):
    layer = Conv1D(4, 6)
    layer.init(0)
    layer.bias.data = rng.standard_normal(6).astype(np.float32)
    x = rng.standard_normal((2, 3, 4)).astype(np.float32)
    assert layer.shape == (6, 4) == layer.dense().shape and layer.weight.shape == (4, 6)
    by_hand = x @ layer.weight.data + layer.bias.data
    assert abs(layer(ml.Tensor(x)).numpy() - by_hand).max() <= 1e-6


def test_replacing_the_weight_of_conv1d_takes_out_by_in_and_restoring_gives_back_the_bits(rng):
    layer = Conv1D(4, 6)
    layer.init(0)
    layer.weight.requires_grad = False
    original, new = layer.weight, rng.standard_normal((6, 4)).astype(np.float32)
    before = layer.replace_weight(new)
    assert before[0] is original and not layer.weight.requires_grad
    np.testing.assert_array_equal(layer.weight.data, new.T)
    np.testing.assert_array_equal(layer.dense(), new)
    layer.restore_weight(before)
    assert layer.weight is original


def test_a_frozen_conv1d_gets_no_gradient(rng):
    layer = Conv1D(4, 6)
    layer.init(0)
    layer.weight.requires_grad = layer.bias.requires_grad = False
    x = ml.Tensor(rng.standard_normal((3, 4)).astype(np.float32), requires_grad=True)
    layer(x).sum().backward()
    assert layer.weight.grad is None and layer.bias.grad is None and x.grad.shape == (3, 4)


def test_gpt2_refuses_more_tokens_than_it_has_positions():
    with pytest.raises(ShapeError, match="33 tokens.*32 positions"):
        tiny_gpt2()(random_ids(shape=(1, 33)))


def test_heads_of_a_gpt2_that_do_not_divide_its_width_are_refused():
    with pytest.raises(ConfigError, match="n_embd 12 does not divide into 5 heads"):
        GPT2Config(**GPT2 | {"n_head": 5})
