"""A weight in two parts: what is read, what it weighs, what it becomes."""

import numpy as np
import pytest

from minilora.quantization.int8 import Int8
from minilora.quantization.nf4 import FourBit
from minilora.quantization.residual import Part, Residual

RNG = np.random.default_rng(0)
W = RNG.standard_normal((96, 130)).astype(np.float32)
PART = Part(RNG.standard_normal((3, 130)).astype(np.float32), RNG.standard_normal((96, 3)).astype(np.float32), 1.5, "x")
LARGE = PART.scaling * PART.B @ PART.A
each = pytest.mark.parametrize("store", [FourBit.of, Int8.of, lambda W: FourBit.of(W, size=4096, double=True)])


@each
def test_it_is_the_part_and_the_quantized_rest(store):
    stored = Residual.of(W + LARGE, store, lambda W: PART)
    rest = store(W + LARGE - LARGE)
    np.testing.assert_allclose(stored.dense(), rest.dense() + LARGE, atol=1e-5)
    assert type(stored.rest) is type(rest) and stored.shape == (96, 130)


@each
def test_some_rows_are_those_of_the_whole(store):
    stored = Residual.of(W + LARGE, store, lambda W: PART)
    starts = [start for start in (0, stored.step) if start < 96]  # large blocks begin at row 0 alone
    for start in starts:
        np.testing.assert_allclose(stored.rows(start, 95), stored.dense()[start:95], atol=1e-5)


def test_the_error_is_that_of_the_rest_alone():
    whole, apart = (
        FourBit.of(W + 10 * LARGE),
        Residual.of(W + 10 * LARGE, FourBit.of, lambda W: PART._replace(scaling=15)),
    )
    assert abs(apart.dense() - W - 10 * LARGE).max() < 0.2 * abs(whole.dense() - W - 10 * LARGE).max()


def test_the_part_is_taken_from_the_weight_before_it_is_quantized():
    seen = []
    Residual.of(np.asfortranarray(W.astype(np.float16)), FourBit.of, lambda W: seen.append(W) or PART)
    np.testing.assert_array_equal(seen[0], W.astype(np.float16))
    assert seen[0].dtype == np.float32


def test_its_bytes_are_those_of_the_part_and_of_the_rest():
    stored = Residual.of(W, Int8.of, lambda W: PART)
    assert stored.nbytes == 4 * (PART.A.size + PART.B.size) + W.size + 4 * 96


def test_another_weight_in_its_format_has_no_part():
    assert isinstance(Residual.of(W, FourBit.of, lambda W: PART).again(W), FourBit)
