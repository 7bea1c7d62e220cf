"""DARE on tensors: the expected value stays, and density 0 and 1 are whole."""

import numpy as np
import pytest

from minilora.combining.dare import dare_linear, dare_ties, drop

RNG = np.random.default_rng(0)


def test_what_is_kept_is_divided_by_the_density():
    tensor = RNG.standard_normal((20, 30)).astype(np.float32)
    dropped = drop(tensor, 0.25, np.random.default_rng(1))
    kept = dropped != 0
    assert 0.2 < kept.mean() < 0.3 and dropped.dtype == np.float32
    np.testing.assert_allclose(dropped[kept], tensor[kept] * 4)


def test_the_mean_over_seeds_is_the_tensor_itself():
    tensor = RNG.uniform(1, 2, (3, 4))
    mean = np.mean([drop(tensor, 0.3, np.random.default_rng(seed)) for seed in range(4000)], axis=0)
    np.testing.assert_allclose(mean, tensor, rtol=0.1)  # four standard errors are 0.097


@pytest.mark.parametrize("function", [dare_linear, dare_ties])
def test_with_density_0_nothing_is_left(function):
    tensors = list(RNG.standard_normal((2, 3, 4)))
    np.testing.assert_array_equal(function(tensors, [1, 2], 0, np.random.default_rng(0)), np.zeros((3, 4)))


def test_with_density_1_dare_is_the_weighted_sum():
    a, b = RNG.standard_normal((2, 3, 4))
    np.testing.assert_allclose(dare_linear([a, b], [1, 2], 1, np.random.default_rng(0)), a + 2 * b)


def test_the_same_seed_drops_the_same():
    tensors = list(RNG.standard_normal((2, 5, 6)))
    one, same, other = (dare_ties(tensors, [1, 1], 0.5, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
