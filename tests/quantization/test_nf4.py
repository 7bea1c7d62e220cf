"""NF4, FP4 and INT4: golden/nf4.npz is what bitsandbytes 0.50.2 stores and reads."""

from pathlib import Path

import numpy as np
import pytest
import strict_cupy
from hypothesis import given, settings
from hypothesis import strategies as st

from minilora.backend import to_host
from minilora.errors import ConfigError, FormatError
from minilora.quantization import stored
from minilora.quantization.nf4 import SIZES, VALUES, FourBit, dequantize, quantize
from minilora.rounding import narrow, widen

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "nf4.npz")
CASES = ["A_128x192_f32", "B_64x64_zero_const_f32", "C_1d_1000_f32", "D_2x64_ties_f32"]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def golden(case):
    return {name.partition("/")[2]: GOLDEN[name] for name in GOLDEN if name.startswith(case + "/")}


def as_matrix(x):
    return x.reshape(1, -1) if x.ndim == 1 else x


def test_the_16_values_are_those_of_bitsandbytes():
    np.testing.assert_array_equal(VALUES["nf4"], GOLDEN["nf4_code"])


def test_nf4_has_7_negative_values_a_zero_and_8_positive_ones():
    assert [(np.sign(VALUES["nf4"]) == sign).sum() for sign in (-1, 0, 1)] == [7, 1, 8]


@pytest.mark.parametrize("case", CASES)
def test_codes_and_scales_are_those_of_bitsandbytes_to_the_bit(case):
    g = golden(case)
    packed, absmax = quantize(g["x"].reshape(-1))
    np.testing.assert_array_equal(packed, g["packed"])
    np.testing.assert_array_equal(absmax, g["absmax"])


@pytest.mark.parametrize("case", CASES)
def test_the_numbers_that_are_read_are_those_of_bitsandbytes_to_the_bit(case):
    g = golden(case)
    np.testing.assert_array_equal(FourBit.of(as_matrix(g["x"])).dense().reshape(g["x"].shape), g["dequant"])


@pytest.mark.parametrize("case", CASES)
def test_double_quantization_reads_what_bitsandbytes_stored_to_the_bit(case):
    g = golden(case)
    W = FourBit(as_matrix(g["x"]).shape, g["nested_packed"], g["nested_absmax_u8"], g["nested_absmax2"],
                g["nested_offset"])  # fmt: skip
    np.testing.assert_array_equal(W.dense().reshape(g["x"].shape), g["nested_dequant"])


@pytest.mark.parametrize("kind, case", [("bfloat16", "F_128x128_bf16"), ("float16", "F_128x128_fp16")])
def test_a_16_bit_weight_is_read_as_rounded_to_16_bits(kind, case):
    g = golden(case)
    bits = g["x_bits_u16"] if kind == "bfloat16" else g["x_bits_u16"].view(np.float16)
    W = FourBit.of(widen(bits), rounded=kind)
    np.testing.assert_array_equal(W.packed, g["packed"])
    np.testing.assert_array_equal(narrow(W.dense(), kind).view(np.uint16), g["dequant_bits_u16"])


@pytest.mark.parametrize("kind", ["nf4", "fp4", "int4"])
@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 300), size=st.sampled_from(SIZES[:3]), seed=st.integers(0, 99), exponent=st.integers(-30, 30))
def test_each_number_becomes_the_nearest_of_the_16_values_times_the_absmax_of_its_block(kind, n, size, seed, exponent):
    x = normal(n, seed=seed) * np.float32(10.0) ** exponent
    packed, absmax = quantize(x, kind, size)
    y = dequantize(packed, absmax, n, kind, size)
    for at in range(0, n, size):
        block, largest = x[at : at + size], abs(x[at : at + size]).max()
        assert absmax[at // size] == max(largest, np.float32(1e-38) if n - at < size else 0)
        table = VALUES[kind].astype(np.float64) * largest
        best = abs(block[:, None].astype(np.float64) - table).min(axis=1)
        np.testing.assert_allclose(abs(block.astype(np.float64) - y[at : at + size]), best, atol=2e-7 * largest)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 63), (1, 64), (1, 65), (7, 127), (3, 4097), (130, 96), (96, 160)])
def test_a_weight_read_by_blocks_of_rows_is_the_weight_read_at_once(monkeypatch, shape, size):
    W = normal(*shape)
    packed, absmax = quantize(W.reshape(-1), "nf4", size)
    monkeypatch.setattr(stored, "BLOCK", 256)
    W4 = FourBit.of(W, size=size)
    np.testing.assert_array_equal(W4.packed, packed)
    np.testing.assert_array_equal(W4.absmax, absmax)
    np.testing.assert_array_equal(W4.dense(), dequantize(packed, absmax, W.size, "nf4", size).reshape(shape))


def test_rows_in_the_middle_of_a_block_of_absmaxes_are_those_of_the_whole():
    W = FourBit.of(normal(300, 128), double=True)
    np.testing.assert_array_equal(W.rows(130, 290), W.dense()[130:290])


@pytest.mark.parametrize("kind", ["nf4", "fp4", "int4"])
@pytest.mark.parametrize("double", [False, True])
def test_the_numbers_that_are_read_are_read_again_when_they_are_stored_again(kind, double):
    W = FourBit.of(normal(48, 96), kind, double=double).dense()
    np.testing.assert_array_equal(FourBit.of(W, kind).dense(), W)


def test_a_tie_takes_the_lower_value():
    limit = (VALUES["nf4"][8] + VALUES["nf4"][9]) / 2
    x = np.array([1, limit, np.nextafter(limit, np.float32(2)), 0], np.float32)
    assert quantize(x)[0].tolist() == [15 << 4 | 8, 9 << 4 | 7]


def test_a_block_of_zeros_is_read_as_zeros():
    W = np.concatenate([np.zeros((1, 64), np.float32), normal(1, 64)])
    assert not FourBit.of(W).dense()[0].any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [3, 130])  # in a full block, and in the last one, which is not full
def test_a_number_that_is_not_finite_is_refused(value, place):
    W = normal(1, 131)
    W[0, place] = value
    with pytest.raises(FormatError, match="^a weight has a number that is not finite, and cannot be stored in 4 bits$"):
        FourBit.of(W)


@pytest.mark.parametrize("size", [16, 48, 8192])
def test_another_block_size_is_refused(size):
    with pytest.raises(ConfigError, match=f"^block size {size}: expected one of 32, 64, 128, .*4096$"):
        FourBit.of(normal(2, 64), size=size)


@pytest.mark.parametrize("double, most", [(False, 0.142), (True, 0.130)])
def test_a_matrix_takes_at_most_these_shares_of_float32(double, most):
    W = normal(768, 2112)
    assert FourBit.of(W, double=double).nbytes / W.nbytes <= most


def test_the_error_of_nf4_is_below_those_of_fp4_and_int4_for_normal_weights():
    W = normal(256, 256)
    errors = {kind: float(np.square(FourBit.of(W, kind).dense() - W).mean()) for kind in VALUES}
    assert errors["nf4"] < errors["int4"] < errors["fp4"]


@pytest.mark.parametrize("kind", ["nf4", "fp4", "int4"])
@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("shape", [(13, 70), (26, 192)])  # a last block that is not full, and whole blocks
def test_a_gpu_computes_the_same(kind, double, shape):
    W = normal(*shape)
    W4, there = FourBit.of(W, kind, double=double), FourBit.of(strict_cupy.asarray(W), kind, double=double)
    np.testing.assert_array_equal(to_host(there.packed), W4.packed)
    np.testing.assert_array_equal(to_host(there.dense()), W4.dense())


@pytest.mark.parametrize("rounded", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("shape", [(13, 70), (26, 192)])
def test_an_operand_in_float16_has_the_numbers_of_the_host(rounded, shape):
    W, there = normal(*shape), FourBit.of(strict_cupy.asarray(normal(*shape)), rounded=rounded)
    read = there.rows(0, shape[0], "float16")
    assert read.dtype == np.float16
    here = FourBit.of(W, rounded=rounded).rows(0, shape[0], "float16")
    assert here.dtype == np.float32
    np.testing.assert_array_equal(to_host(read).astype(np.float32), here)
