"""The product with a stored weight: values, gradients, and nothing of the weight's size that stays."""

import tracemalloc

import numpy as np
import pytest
import strict_cupy
from strict_cupy import watched_by

from minilora import ops
from minilora.autograd import Tensor
from minilora.backend import to_host
from minilora.errors import ShapeError
from minilora.nn import Parameter
from minilora.quantization import stored
from minilora.quantization.int8 import Int8
from minilora.quantization.linear import StoredEmbedding, StoredLinear, StoredParameter, stored_linear
from minilora.quantization.nf4 import FourBit
from minilora.quantization.sixteen_bit import SixteenBit
from minilora.rounding import round_to

FORMATS = {
    "nf4": FourBit.of,
    "nf4, double": lambda W: FourBit.of(W, double=True),
    "int8": Int8.of,
    "bfloat16": lambda W: SixteenBit.of(W, "bfloat16"),
    "float16": lambda W: SixteenBit.of(W, "float16"),
}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def both(store, x, b=None, compute="float32"):
    """y, dx and db of the stored product and of ops.linear with the dense weight."""
    weight, results = store(normal(40, 70)), []
    for multiply in (
        lambda x, b: stored_linear(x, weight, b, compute),
        lambda x, b: ops.linear(x, Tensor(weight.dense()), b),
    ):
        x_, b_ = Tensor(x, requires_grad=True), None if b is None else Tensor(b, requires_grad=True)
        y = multiply(x_, b_)
        y.backward(normal(*y.shape, seed=9))
        results.append([y.data, x_.grad] + ([] if b is None else [b_.grad]))
    return zip(*results, strict=True)


@pytest.mark.parametrize("blocks", [1, 8])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("bias", [False, True])
def test_values_and_gradients_are_those_of_the_dense_weight(monkeypatch, format, bias, blocks):
    monkeypatch.setattr(stored, "BLOCK", 40 * 70 // blocks)
    for ours, dense in both(FORMATS[format], normal(3, 5, 70), normal(40) if bias else None):
        np.testing.assert_allclose(ours, dense, atol=2e-5)


@pytest.mark.parametrize("compute", ["bfloat16", "float16"])
def test_a_product_in_16_bits_rounds_what_goes_in_and_what_comes_out(compute):
    weight, x, b = FourBit.of(normal(40, 64)), normal(5, 64), normal(40)
    x_ = Tensor(x, requires_grad=True)
    y = stored_linear(x_, weight, Tensor(b), compute)
    W = round_to(weight.dense(), compute)
    np.testing.assert_array_equal(y.data, round_to(round_to(x, compute) @ W.T + round_to(b, compute), compute))
    g = normal(5, 40, seed=2)
    y.backward(g)
    np.testing.assert_array_equal(x_.grad, round_to(round_to(g, compute) @ W, compute))


def test_x_in_float64_gives_a_result_in_float64():
    assert stored_linear(Tensor(normal(2, 70).astype(np.float64)), Int8.of(normal(40, 70))).dtype == np.float64


def test_features_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"^linear: x has 3 features, W of shape \(40, 70\) expects 70$"):
        stored_linear(Tensor(normal(2, 3)), Int8.of(normal(40, 70)))


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_of_the_size_of_the_weight_stays_after_a_forward_or_a_backward(format):
    weight = FORMATS[format](normal(1024, 1024))
    x = Tensor(normal(2, 1024), requires_grad=True)
    tracemalloc.start()
    try:
        y = stored_linear(x, weight)
        after_forward = tracemalloc.get_traced_memory()[0]
        y.backward(np.ones_like(y.data))
        after_backward = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert max(after_forward, after_backward) < 0.02 * 4 * 1024 * 1024


def layer(format="nf4", bias=True):
    weight = StoredParameter((40, 70), FORMATS[format])
    weight.fill_from_file(normal(40, 70), "cpu")
    return StoredLinear(weight, Parameter((40,), data=normal(40)) if bias else None, "float32", False)


def test_a_layer_with_another_weight_uses_it_and_has_the_stored_one_again_later():
    base, x = layer(), Tensor(normal(3, 70))
    y, before = base(x).data, base.replace_weight(normal(40, 70, seed=5), normal(40, seed=6))
    np.testing.assert_allclose(base(x).data, normal(3, 70) @ normal(40, 70, seed=5).T + normal(40, seed=6), atol=1e-5)
    np.testing.assert_array_equal(base.dense(), normal(40, 70, seed=5))
    base.restore_weight(before)
    np.testing.assert_array_equal(base(x).data, y)


def test_a_stored_weight_never_gets_a_gradient():
    assert not layer().weight.requires_grad


def test_a_transposed_weight_of_a_file_is_stored_with_a_row_for_each_output():
    weight = StoredParameter((40, 70), FORMATS["float16"], transposed=True)
    assert weight.shape_in_file == (70, 40)
    weight.fill_from_file(normal(40, 70).T, "cpu")
    np.testing.assert_array_equal(weight.numpy(), round_to(normal(40, 70), "float16"))


def test_an_embedding_in_16_bits_looks_rows_up_and_scales_them():
    weight = StoredParameter((40, 70), FORMATS["bfloat16"])
    weight.fill_from_file(normal(40, 70), "cpu")
    expected = round_to(normal(40, 70), "bfloat16")[[3, 39]]
    np.testing.assert_array_equal(StoredEmbedding(weight)(np.array([3, 39])).data, expected)
    np.testing.assert_array_equal(StoredEmbedding(weight, 3.0)(np.array([3, 39])).data, 3 * expected)


def test_the_repr_says_format_shape_and_bytes():
    assert repr(layer().weight) == "StoredParameter(FourBit(shape=(40, 70), 1,576 bytes))"
    assert repr(StoredParameter((4, 7), Int8.of)) == "StoredParameter(shape=(4, 7), not filled)"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("blocks", [1, 3])
def test_a_gpu_computes_the_same(monkeypatch, format, blocks):
    for size in ("BLOCK", "GPU_BLOCK"):
        monkeypatch.setattr(stored, size, 40 * 70 // blocks)
    results = []
    for to in (lambda a: a, strict_cupy.asarray):
        x = Tensor(to(normal(3, 70)), requires_grad=True)
        y = stored_linear(x, FORMATS[format](to(normal(40, 70))), Tensor(to(normal(40))))
        y.backward(to(normal(3, 40, seed=2)))
        results.append((to_host(y.data), to_host(x.grad)))
    for here, there in zip(*results, strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-6)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("blocks", [1, 4])
def test_a_gpu_multiplies_float16_arrays_where_float16_is_asked_for(monkeypatch, format, bias, blocks):
    for size in ("BLOCK", "GPU_BLOCK"):
        monkeypatch.setattr(stored, size, 40 * 64 // blocks)
    results, products = [], []
    for to in (lambda a: a, strict_cupy.asarray):
        x = Tensor(to(normal(3, 64)), requires_grad=True)
        b = Tensor(to(normal(40)), requires_grad=True) if bias else None
        with watched_by(lambda name, operands, _: products.append(operands) if name == "matmul" else None):
            y = stored_linear(x, FORMATS[format](to(normal(40, 64))), b, "float16")
            y.backward(to(normal(3, 40, seed=2)))
        assert y.dtype == x.grad.dtype == np.float32
        results.append((to_host(y.data), to_host(x.grad)) + ((to_host(b.grad),) if bias else ()))
    assert [{a.dtype for a in operands} for operands in products] == [{np.dtype(np.float16)}] * 2 * blocks
    for here, there in zip(*results, strict=True):
        np.testing.assert_allclose(here, there, rtol=2e-3, atol=0.02)
