"""Weighted sums of updates, and the forms in which a low-rank sum is kept."""

import numpy as np
import pytest

from minilora.combining.weighted import Factors, cat, low_rank, padded, roots, svd, task_arithmetic

RNG = np.random.default_rng(0)


def factors(*settings, out=7, n_in=5):  # (weight, scaling, r), ...
    return [Factors(w, s, RNG.standard_normal((r, n_in)), RNG.standard_normal((out, r))) for w, s, r in settings]


def exact_sum(given):
    return sum(f.weight * f.scaling * f.B @ f.A for f in given)


def test_task_arithmetic_is_the_weighted_sum():
    a, b = RNG.standard_normal((2, 3, 4))
    np.testing.assert_allclose(task_arithmetic([a, b], [0.5, -2]), 0.5 * a - 2 * b)


def test_cat_is_the_exact_sum_of_updates_of_other_ranks_and_scales():
    given = factors((0.7, 2.5, 2), (-1.5, 0.4, 1), (0, 3, 3))
    A, B = cat(given)
    assert A.shape == (6, 5) and B.shape == (7, 6)
    np.testing.assert_allclose(B @ A, exact_sum(given))


@pytest.mark.parametrize("r", [1, 2, 3, 4])
def test_svd_of_the_factors_is_the_svd_of_their_sum(r):
    given = factors((0.7, 2.5, 2), (-1.5, 0.4, 1))
    U, S, Vt = np.linalg.svd(exact_sum(given))
    A, B = svd(given, r)
    assert A.shape == (r, 5) and B.shape == (7, r)
    np.testing.assert_allclose(B @ A, U[:, :r] * S[:r] @ Vt[:r], atol=1e-12)


def test_svd_works_where_the_ranks_add_up_to_more_than_a_side():
    given = factors((1, 1, 4), (1, 1, 4))
    A, B = svd(given, 5)
    np.testing.assert_allclose(B @ A, exact_sum(given), atol=1e-12)


def test_low_rank_is_the_nearest_matrix_of_that_rank():
    delta = RNG.standard_normal((6, 4))
    A, B = low_rank(delta, 2)
    S = np.linalg.svd(delta, compute_uv=False)
    np.testing.assert_allclose(np.linalg.norm(delta - B @ A), np.linalg.norm(S[2:]))


def test_clamping_bounds_the_numbers_at_the_quantile():
    delta = RNG.standard_normal((6, 4))
    A, B = low_rank(delta, 3)
    clamped = np.concatenate([m.ravel() for m in low_rank(delta, 3, clamp=0.8)])
    bound = np.quantile(np.concatenate([A.ravel(), B.ravel()]), 0.8)
    assert abs(clamped).max() == pytest.approx(bound) and abs(B).max() > bound


def test_the_products_of_the_roots_are_weight_times_scale_with_its_sign():
    of_A, of_B = roots(factors((0.7, 2.5, 1), (-1.5, 0.4, 1), (-2, -3, 1), (0, 1, 1)))
    np.testing.assert_allclose(np.multiply(of_A, of_B), [1.75, -0.6, 6, 0])


def test_padding_leaves_the_product_as_it_is():
    [f] = factors((1, 1, 2))
    A, B = padded(f.A, f.B, 4)
    assert A.shape == (4, 5) and B.shape == (7, 4)
    np.testing.assert_array_equal(B @ A, f.B @ f.A)
