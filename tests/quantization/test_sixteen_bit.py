"""bfloat16 and float16, beside ml_dtypes and NumPy."""

import ml_dtypes
import numpy as np
import pytest
import strict_cupy

from minilora.backend import to_host
from minilora.errors import FormatError
from minilora.quantization.sixteen_bit import SixteenBit
from minilora.rounding import narrow, round_to, widen

KINDS = [("bfloat16", ml_dtypes.bfloat16), ("float16", np.float16)]


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def awkward():
    """Every upper half of a finite float32 with lower halves around the ties."""
    upper = np.arange(2**16, dtype=np.uint32)
    upper = upper[(upper & 0x7F80) != 0x7F80]
    return np.concatenate([(upper << 16 | low).view(np.float32) for low in (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF)])


def test_bfloat16_is_rounded_as_ml_dtypes_rounds_it():
    with np.errstate(over="ignore"):
        expected = awkward().astype(ml_dtypes.bfloat16).view(np.uint16)
    np.testing.assert_array_equal(narrow(awkward(), "bfloat16"), expected)


@pytest.mark.parametrize("kind, dtype", KINDS)
def test_infinities_and_every_nan_stay_what_they_are(kind, dtype):
    nans = np.array([0x7F800001, 0x7FC00000, 0x7FFFFFFF, 0xFFFFFFFF, 0xFF800001], np.uint32).view(np.float32)
    assert np.isnan(round_to(nans, kind)).all()
    np.testing.assert_array_equal(round_to(np.array([np.inf, -np.inf], np.float32), kind), [np.inf, -np.inf])


@pytest.mark.parametrize("kind, dtype", KINDS)
def test_widening_is_exact(kind, dtype):
    x = normal(50, 3)
    np.testing.assert_array_equal(widen(narrow(x, kind)), x.astype(dtype).astype(np.float32))


@pytest.mark.parametrize("kind, dtype", KINDS)
def test_a_weight_is_read_as_rounded(kind, dtype):
    W = SixteenBit.of(normal(50, 3), kind)
    np.testing.assert_array_equal(W.dense(), normal(50, 3).astype(dtype).astype(np.float32))
    assert W.kind == kind and W.nbytes == 2 * 150


@pytest.mark.parametrize("kind, dtype", KINDS)
def test_rows_are_read_by_their_numbers(kind, dtype):
    W = SixteenBit.of(normal(50, 3), kind)
    np.testing.assert_array_equal(W[np.array([[4, 4], [0, 49]])], W.dense()[[[4, 4], [0, 49]]])


def test_rounding_to_float32_changes_nothing():
    x = normal(2, 2)
    assert round_to(x, "float32") is x


@pytest.mark.parametrize("kind, value", [("bfloat16", np.nan), ("bfloat16", np.inf), ("float16", 7e4)])
def test_a_number_that_does_not_fit_is_refused(kind, value):
    W = normal(3, 5)
    W[1, 2] = value
    with pytest.raises(FormatError, match=f"^a weight has a number that is not finite, .* in {kind}$"):
        SixteenBit.of(W, kind)


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_a_gpu_computes_the_same(kind):
    W, there = SixteenBit.of(normal(13, 70), kind), SixteenBit.of(strict_cupy.asarray(normal(13, 70)), kind)
    np.testing.assert_array_equal(to_host(there.bits), W.bits)
    np.testing.assert_array_equal(to_host(there.dense()), W.dense())
