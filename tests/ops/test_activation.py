"""Activations and softmax beside their equations."""

import math

import numpy as np
import pytest
from engine_cases import assert_close

from minilora import ops
from minilora.autograd import Tensor


@pytest.fixture
def x(rng):
    return rng.standard_normal((3, 4))


def test_silu_is_x_times_its_sigmoid(x):
    assert_close(ops.silu(Tensor(x)), x / (1 + np.exp(-x)))


def test_swiglu_is_silu_of_the_gate_times_the_other(x):
    assert_close(ops.swiglu(Tensor(x), Tensor(x + 1)), x / (1 + np.exp(-x)) * (x + 1))


def test_gelu_is_the_form_with_a_tanh(x):
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    assert_close(ops.gelu(Tensor(x)), 0.5 * x * (1 + np.tanh(inner)))


def test_softcap_is_c_tanh_of_x_over_c_and_without_a_cap_the_identity(x):
    assert_close(ops.softcap(Tensor(x), 0.5), 0.5 * np.tanh(x / 0.5))
    same = Tensor(x)
    assert ops.softcap(same, None) is same


def test_softmax_is_the_exponentials_over_their_sum(x):
    assert_close(ops.softmax(Tensor(x)), [np.exp(row) / sum(math.exp(v) for v in row) for row in x])


def test_dropout_keeps_the_mean_and_zero_probability_is_the_identity():
    x = Tensor(np.ones(200_000, np.float32), requires_grad=True)
    y = ops.dropout(x, 0.25, np.random.default_rng(0))
    assert set(np.unique(y.data)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs(y.data.mean() - 1) < 0.01
    assert ops.dropout(x, 0, None) is x


def test_large_values_do_not_overflow_in_the_activations():
    x = Tensor(np.array([-1e4, -90, 90, 1e4], np.float32))
    with np.errstate(over="raise", invalid="raise"):
        assert ops.silu(x).data.tolist() == [0, 0, 90, 1e4]
        assert ops.gelu(x).data.tolist() == [0, 0, 90, 1e4]
        assert ops.softmax(x).data.tolist() == [0, 0, 0, 1]
