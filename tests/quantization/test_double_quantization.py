"""The absmaxes in 8 bits: golden/nf4.npz is what bitsandbytes 0.50.2 stores."""

from pathlib import Path

import numpy as np
import pytest
import strict_cupy

from minilora.quantization.double_quantization import dequantize_absmax, dynamic_map, quantize_absmax

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "nf4.npz")


def absmaxes(n, seed=0):
    return abs(np.random.default_rng(seed).standard_normal(n)).astype(np.float32) + 2


def test_the_map_is_that_of_bitsandbytes_to_the_bit():
    np.testing.assert_array_equal(dynamic_map(), GOLDEN["dynamic_map"])


def test_the_offset_is_the_mean_of_the_absmaxes():
    absmax = absmaxes(1000)
    assert quantize_absmax(absmax)[2] == absmax.mean(dtype=np.float32)


def test_each_code_is_the_nearest_value_of_the_map():
    absmax = absmaxes(700)
    code8, absmax2, offset = quantize_absmax(absmax)
    a = absmax - offset
    for at in range(0, 700, 256):
        block = a[at : at + 256]
        assert absmax2[at // 256] == abs(block).max()
        distance = abs(block[:, None] / abs(block).max() - dynamic_map().astype(np.float64))
        np.testing.assert_allclose(distance[np.arange(len(block)), code8[at : at + 256]], distance.min(1), atol=1e-7)


def test_absmaxes_are_read_within_half_a_step_of_the_map():
    absmax = absmaxes(700)
    code8, absmax2, offset = quantize_absmax(absmax)
    step = np.diff(dynamic_map()).max() * absmax2.max()
    assert abs(dequantize_absmax(code8, absmax2, offset) - absmax).max() <= 0.51 * step


def test_absmaxes_from_a_place_in_the_middle_are_those_of_the_whole():
    code8, absmax2, offset = quantize_absmax(absmaxes(700))
    whole = dequantize_absmax(code8, absmax2, offset)
    np.testing.assert_array_equal(dequantize_absmax(code8[256:600], absmax2[1:], offset), whole[256:600])


def test_equal_absmaxes_are_read_exactly():
    absmax = np.full(300, 0.75, np.float32)
    np.testing.assert_array_equal(dequantize_absmax(*quantize_absmax(absmax)), absmax)


@pytest.mark.parametrize("n", [512, 700])  # whole blocks, and a last one that is not full
def test_a_gpu_reads_the_same_absmaxes(n):
    code8, absmax2, offset = quantize_absmax(absmaxes(n))
    there = dequantize_absmax(*map(strict_cupy.asarray, (code8, absmax2, offset)))
    assert there.dtype == np.float32
    np.testing.assert_array_equal(there.get(), dequantize_absmax(code8, absmax2, offset))
