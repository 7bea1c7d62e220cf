"""int8 by rows."""

import numpy as np
import pytest
import strict_cupy

from minilora.backend import to_host
from minilora.errors import FormatError
from minilora.quantization import stored
from minilora.quantization.config import BitsAndBytesConfig
from minilora.quantization.int8 import Int8


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_a_row_is_scaled_to_127_steps_of_its_largest_number():
    W = Int8.of(np.array([[1.0, -2.0, 0.5, 0.0], [4.0, 1.0, -4.0, 3.0]], np.float32))
    assert W.scale.tolist() == [2.0, 4.0]
    assert W.codes.tolist() == [[64, -127, 32, 0], [127, 32, -127, 95]]  # 63.5 and 31.75 are rounded; a tie to even


def test_the_numbers_are_rounded_to_float16_first():
    assert Int8.of(np.array([[1 + 2**-12, 1.0]], np.float32)).scale.tolist() == [1.0]


def test_the_weights_of_a_bfloat16_model_are_rounded_to_bfloat16_before():
    W = np.array([[1 + 2**-9, 1.0]], np.float32)
    assert (Int8.of(W).scale.tolist(), Int8.of(W, "bfloat16").scale.tolist()) == ([1 + 2**-9], [1.0])
    stored = BitsAndBytesConfig(load_in_8bit=True).store("bfloat16")(W)
    assert stored.scale.tolist() == [1.0]


def test_a_row_of_zeros_is_read_as_zeros():
    W = normal(3, 5)
    W[1] = 0
    read = Int8.of(W).dense()
    assert not read[1].any() and np.isfinite(read).all()


def test_a_number_that_is_read_is_within_half_a_step():
    W = normal(40, 70)
    half = abs(W).max(axis=1, keepdims=True) / 127 / 2
    assert (abs(Int8.of(W).dense() - W) <= half * 1.1).all()


def test_a_weight_read_by_blocks_of_rows_is_the_weight_read_at_once(monkeypatch):
    whole = Int8.of(normal(40, 70)).dense()
    monkeypatch.setattr(stored, "BLOCK", 256)
    np.testing.assert_array_equal(Int8.of(normal(40, 70)).dense(), whole)


@pytest.mark.parametrize("value", [np.nan, np.inf, 7e4])
def test_a_number_that_float16_cannot_hold_is_refused(value):
    W = normal(3, 5)
    W[1, 2] = value
    with pytest.raises(FormatError, match="^a weight has a number that is not finite, and cannot be stored in int8$"):
        Int8.of(W)


def test_a_matrix_takes_a_quarter_of_float32_and_4_bytes_a_row():
    assert Int8.of(normal(30, 50)).nbytes == 30 * 50 + 4 * 30


def test_a_gpu_computes_the_same():
    W, there = Int8.of(normal(13, 70)), Int8.of(strict_cupy.asarray(normal(13, 70)))
    np.testing.assert_array_equal(to_host(there.codes), W.codes)
    np.testing.assert_array_equal(to_host(there.dense()), W.dense())
    np.testing.assert_array_equal(to_host(there.rows(0, 13, "float16")).astype(np.float32), W.rows(0, 13, "float16"))
