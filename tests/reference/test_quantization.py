"""The formats against bitsandbytes: codes, scales and the numbers that are read, to the bit.

bitsandbytes 0.50.2 has two faults on a CPU, which these tests avoid. Its AVX-512 kernel reads the wrong scales when a
row is not a whole number of blocks: the generic function reads here. Its 8-bit search of double quantization is not
exact: the codes are compared with a margin, and those that differ are counted.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
bnb = pytest.importorskip("bitsandbytes")

from bitsandbytes.backends.default import ops as generic  # noqa: E402
from bitsandbytes.functional import create_dynamic_map, dequantize_blockwise, quantize_4bit  # noqa: E402

from minilora.quantization.double_quantization import dynamic_map  # noqa: E402
from minilora.quantization.int8 import Int8  # noqa: E402
from minilora.quantization.nf4 import SIZES, VALUES, FourBit  # noqa: E402
from minilora.quantization.sixteen_bit import SixteenBit  # noqa: E402
from minilora.rounding import round_to  # noqa: E402

pytestmark = [pytest.mark.reference, pytest.mark.slow]
SHAPES = [(1, 1), (1, 63), (1, 64), (1, 65), (1, 127), (3, 4095), (3, 4096), (3, 4097), (64, 64), (96, 160), (257, 130)]


def weight(shape, seed=0):
    rng = np.random.default_rng(seed)
    W = rng.standard_normal(shape).astype(np.float32) * np.float32(0.02)
    W[rng.random(shape) < 0.01] = 0
    W.reshape(-1)[: min(200, W.size // 2)] = 0  # whole blocks of zeros
    return W


def read_by_bitsandbytes(packed, state):
    """The generic function, in eager mode; absmax is dequantized first where it is nested."""
    absmax = state.absmax
    if state.nested:
        absmax = dequantize_blockwise(absmax, state.state2) + state.offset
    compute = getattr(generic._dequantize_4bit_compute, "_torchdynamo_orig_callable", None)
    compute = compute or generic._dequantize_4bit_compute.__wrapped__
    shape = tuple(state.shape)
    return compute(packed.reshape(-1), absmax, state.code, state.blocksize, shape, state.dtype).reshape(shape)


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_4_bit_codes_and_scales_are_equal_to_the_bit(kind, size, shape):
    W = weight(shape)
    packed, state = quantize_4bit(torch.from_numpy(W), blocksize=size, quant_type=kind)
    W4 = FourBit.of(W, kind, size)
    np.testing.assert_array_equal(W4.packed, packed.numpy().reshape(-1))
    np.testing.assert_array_equal(W4.absmax, state.absmax.numpy())
    np.testing.assert_array_equal(VALUES[kind], state.code.numpy())


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("shape, size", [((64, 64), 64), ((96, 160), 64), ((3, 4097), 4096), ((257, 130), 32)])
def test_stored_4_bit_numbers_are_read_equal_to_the_bit(kind, double, dtype, shape, size):
    W = torch.from_numpy(weight(shape)).to(getattr(torch, dtype))
    packed, state = quantize_4bit(W, blocksize=size, quant_type=kind, compress_statistics=double)
    nested = (state.state2.absmax.numpy(), state.offset.numpy()) if double else ()
    ours = FourBit(
        shape, packed.numpy().reshape(-1), state.absmax.numpy(), *nested, kind=kind, size=size, rounded=dtype
    )
    np.testing.assert_array_equal(ours.dense(), read_by_bitsandbytes(packed, state).float().numpy())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_16_bit_weight_has_the_codes_of_bitsandbytes(dtype):
    W = weight((128, 96))
    packed, state = quantize_4bit(torch.from_numpy(W).to(getattr(torch, dtype)), quant_type="nf4")
    ours = FourBit.of(W, rounded=dtype)
    np.testing.assert_array_equal(ours.packed, packed.numpy().reshape(-1))
    np.testing.assert_array_equal(ours.absmax, state.absmax.numpy())


def test_the_map_of_double_quantization_is_equal_to_the_bit():
    np.testing.assert_array_equal(dynamic_map(), create_dynamic_map().numpy())


@pytest.mark.parametrize("shape", [(128, 192), (1000, 257), (512, 1024)])
def test_double_quantization_differs_by_the_approximate_search_of_a_cpu_alone(shape):
    W = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    packed, state = quantize_4bit(torch.from_numpy(W), quant_type="nf4", compress_statistics=True)
    ours = FourBit.of(W, double=True)
    np.testing.assert_array_equal(ours.packed, packed.numpy().reshape(-1))
    np.testing.assert_allclose(ours.offset, state.offset.numpy(), rtol=2e-7)  # the order of a sum is not fixed
    np.testing.assert_allclose(ours.absmax2, state.state2.absmax.numpy(), rtol=1e-5)
    difference = abs(ours.absmax.astype(int) - state.absmax.numpy().astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.01


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (96, 160), (257, 1030)])
def test_int8_is_equal_to_the_bit(shape):
    W = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    W[0, : shape[1] // 2] = 0
    codes, scale, _ = bnb.functional.int8_vectorwise_quant(torch.from_numpy(W).half())
    ours = Int8.of(W)
    np.testing.assert_array_equal(ours.codes, codes.numpy())
    np.testing.assert_array_equal(ours.scale, scale.numpy())
    np.testing.assert_array_equal(ours.dense(), bnb.functional.int8_vectorwise_dequant(codes, scale).numpy())


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_16_bits_are_rounded_as_torch_rounds_them(kind):
    W = np.random.default_rng(0).standard_normal((70, 90)).astype(np.float32)
    expected = torch.from_numpy(W).to(getattr(torch, kind)).float().numpy()
    np.testing.assert_array_equal(SixteenBit.of(W, kind).dense(), expected)
    np.testing.assert_array_equal(round_to(W, kind), expected)
