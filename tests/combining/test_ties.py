"""TIES on tensors: trimmed, elected, averaged; the paper's reading and PEFT's."""

import numpy as np
import pytest

from minilora.combining.ties import cutoff, elected_mean, magnitude_prune, paper_ties, ties, trim

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("density, kept", [(0, 0), (0.1, 1), (0.34, 4), (0.99, 11), (1, 12)])
def test_trimming_keeps_the_largest(density, kept):
    tensor = RNG.standard_normal((3, 4))
    trimmed = trim(tensor, density)
    assert np.count_nonzero(trimmed) == kept == int(density * 12)
    smallest = np.sort(abs(tensor).ravel())[12 - kept] if kept else np.inf
    np.testing.assert_array_equal(trimmed, np.where(abs(tensor) >= smallest, tensor, 0))


def test_trimming_keeps_exactly_so_many_among_equal_numbers():
    assert np.count_nonzero(trim(np.ones((4, 5)), 0.25)) == 5


def test_only_the_numbers_with_the_elected_sign_are_averaged():
    tensors = [np.array([3.0, -1.0, 2.0, 0.0]), np.array([-1.0, -3.0, 4.0, 5.0])]
    np.testing.assert_allclose(elected_mean(tensors, [1, 1]), [3, -2, 3, 5])


def test_most_tensors_elect_the_sign_by_frequency():
    tensors = [np.array([5.0]), np.array([-1.0]), np.array([-2.0])]
    np.testing.assert_allclose(elected_mean(tensors, [1, 1, 1], "total"), [5])
    np.testing.assert_allclose(elected_mean(tensors, [1, 1, 1], "frequency"), [-1.5])


def test_peft_elects_before_it_weights_and_the_paper_after():
    tensors = [np.array([3.0]), np.array([-2.0])]
    np.testing.assert_allclose(ties(tensors, [1, 10], 1), [3])
    np.testing.assert_allclose(paper_ties([3 * np.ones(1), -20 * np.ones(1)], [0, 0]), [-20])


def test_opposite_numbers_cancel_in_the_paper_and_the_positive_one_wins_in_peft():
    tensors = [np.array([2.0]), np.array([-2.0])]
    assert ties(tensors, [1, 1], 1) == [2] and paper_ties(tensors, [0, 0]) == [0]


def test_pruning_by_magnitude_sums_what_is_left():
    a, b = np.array([4.0, 1.0]), np.array([1.0, -6.0])
    np.testing.assert_allclose(magnitude_prune([a, b], [0.5, 2], 0.5), [2, -12])


@pytest.mark.parametrize("function", [ties, magnitude_prune])
def test_with_density_0_nothing_is_left(function):
    tensors = list(RNG.standard_normal((2, 3, 4)))
    np.testing.assert_array_equal(function(tensors, [1, 2], 0), np.zeros((3, 4)))


def test_pruning_with_density_1_is_the_weighted_sum():
    a, b = RNG.standard_normal((2, 3, 4))
    np.testing.assert_allclose(magnitude_prune([a, b], [1, 2], 1), a + 2 * b)


@pytest.mark.parametrize("density", [0.01, 0.2, 0.5, 0.999, 1])
def test_the_cutoff_is_the_kth_largest_magnitude_of_all_tensors(density):
    tensors = [RNG.standard_normal((30, 40)).astype(np.float32) * scale for scale in (1e-3, 1, 50)]
    everything = np.sort(abs(np.concatenate([t.ravel() for t in tensors])))[::-1]
    assert cutoff(lambda: tensors, density) == everything[int(density * 3600) - 1]


def test_the_cutoff_of_density_0_keeps_nothing():
    tensors = [RNG.standard_normal((3, 4)).astype(np.float32)]
    assert cutoff(lambda: tensors, 0) == np.inf
    np.testing.assert_array_equal(paper_ties(tensors * 2, [np.inf, np.inf]), np.zeros((3, 4)))


def test_the_cutoff_of_zeros_is_zero():
    assert cutoff(lambda: [np.zeros(5, np.float32), np.zeros(3, np.float32)], 0.5) == 0


def test_the_paper_trims_all_layers_together():
    small, large = np.full(4, 0.1, np.float32), np.full(4, 5.0, np.float32)
    kept = cutoff(lambda: [small, large], 0.5)
    np.testing.assert_array_equal(paper_ties([small], [kept]), np.zeros(4))  # all that is kept is in the other layer
    np.testing.assert_array_equal(paper_ties([large], [kept]), large)
