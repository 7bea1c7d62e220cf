"""Both norms beside their equations."""

import numpy as np
import pytest
from engine_cases import assert_close

from minilora import ops
from minilora.autograd import Tensor


@pytest.fixture
def x(rng):
    return rng.standard_normal((3, 4))


def test_layer_norm_subtracts_the_mean_and_divides_by_the_standard_deviation(x, rng):
    w, b = rng.standard_normal((2, 4))
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    assert_close(ops.layer_norm(Tensor(x), Tensor(w), Tensor(b), 0.1), w * centred / np.sqrt(variance + 0.1) + b)


def test_rms_norm_divides_by_the_root_of_the_mean_square(x, rng):
    w = rng.standard_normal(4)
    assert_close(ops.rms_norm(Tensor(x), Tensor(w), 0.1), w * x / np.sqrt((x * x).mean(-1, keepdims=True) + 0.1))


def test_the_defaults_of_epsilon_are_those_of_torch_and_of_llama(x):
    tiny, one = Tensor(1e-3 * x), Tensor(np.ones(4))  # so small that epsilon counts
    centred = tiny.data - tiny.data.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    assert_close(ops.layer_norm(tiny, one, Tensor(np.zeros(4))), centred / np.sqrt(variance + 1e-5))
    assert_close(ops.rms_norm(tiny, one), tiny.data / np.sqrt((tiny.data**2).mean(-1, keepdims=True) + 1e-6))
