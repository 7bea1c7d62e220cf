"""Rounding to 16 bits, beside NumPy's float16 and ml_dtypes' bfloat16, bit for bit."""

import ml_dtypes
import numpy as np
import pytest
import strict_cupy
from launches import count_launches
from tracer import Traced, traced, types_of

from minilora import rounding
from minilora.backend import to_host
from minilora.rounding import round_to

TYPES = [("bfloat16", ml_dtypes.bfloat16), ("float16", np.float16)]
BITS = np.random.default_rng(0).integers(0, 2**32, 200_000, dtype=np.uint64).astype(np.uint32)
EVERY_KIND = np.concatenate([
    BITS.view(np.float32),  # every exponent, nan and infinity among them
    (BITS & 0xFFFF0000 | 0x8000).view(np.float32),  # exactly between two numbers of bfloat16
    np.array([0, -0.0, np.inf, -np.inf, np.nan, 3.4028235e38, -3.4e38, 1e-45, 65519, 65520, 6e-8, 2e-8], np.float32),
])  # fmt: skip


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize(("kind", "dtype"), TYPES)
def test_every_float32_becomes_the_number_that_the_16_bit_type_has_for_it(kind, dtype):
    expected = EVERY_KIND.astype(dtype).astype(np.float32)
    number = ~np.isnan(expected)
    result = round_to(EVERY_KIND, kind)
    assert result.dtype == np.float32 and np.array_equal(np.isnan(result), ~number)
    assert np.array_equal(result[number].view(np.uint32), expected[number].view(np.uint32))


@pytest.mark.parametrize(("kind", "dtype"), TYPES)
def test_views_and_empty_arrays_and_arrays_on_a_gpu_are_rounded_too(kind, dtype):
    x = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    assert np.array_equal(round_to(x.T[::2], kind), round_to(x, kind).T[::2])
    assert round_to(x[:0], kind).shape == (0, 6)
    assert np.array_equal(to_host(round_to(strict_cupy.asarray(x), kind)), round_to(x, kind))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("kind", [kind for kind, _ in TYPES])
def test_the_kernel_of_a_gpu_gives_the_bits_of_the_host(kind):
    with count_launches() as found:
        there = round_to(strict_cupy.asarray(EVERY_KIND), kind)
    assert len(found) == 1
    assert np.array_equal(there.get().view(np.uint32), round_to(EVERY_KIND, kind).view(np.uint32))


@pytest.mark.parametrize(("make", "of", "types"), [
    (rounding._by_float16, "float32", {"float32", "float16"}),
    (rounding._bits_by_bfloat16, "uint32", {"uint32", "int64", "bool"}),  # it compares in int64
])  # fmt: skip
def test_cupy_makes_one_kernel_of_a_rounding(monkeypatch, make, of, types):
    cupy = pytest.importorskip("cupy")
    kernel, history = traced(monkeypatch, make(cupy), [Traced(of)])
    assert type(kernel).__name__ == "ElementwiseKernel"
    assert types_of(history) == types
    assert [p.dtype.name for p in kernel.out_params] == [of]
