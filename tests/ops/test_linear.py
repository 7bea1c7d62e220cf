"""Products and lookups: their values by hand, and what they keep for the backward."""

import sys
import weakref

import numpy as np
import pytest
from engine_cases import assert_close

from minilora import ops
from minilora.autograd import Tensor, no_grad
from minilora.ops.linear import few_rows, is_few


@pytest.fixture
def x(rng):
    return rng.standard_normal((3, 4))


def test_linear_is_a_product_of_each_row_with_each_row_of_the_weight_and_the_bias(x, rng):
    W, b = rng.standard_normal((5, 4)), rng.standard_normal(5)
    expected = [[row @ w + c for w, c in zip(W, b, strict=True)] for row in x]
    assert_close(ops.linear(Tensor(x), Tensor(W), Tensor(b)), expected)


def test_embedding_is_the_row_of_every_id(rng):
    E = rng.standard_normal((5, 4))
    assert_close(ops.embedding(Tensor(E), np.array([[4, 0], [0, 2]])), [[E[4], E[0]], [E[0], E[2]]])


def test_an_activation_that_no_backward_reads_is_gone_after_the_forward(rng):
    W = Tensor(rng.standard_normal((5, 4)))  # frozen: its input is not needed again
    x = Tensor(rng.standard_normal((3, 4)), requires_grad=True)
    first = x + 1.0
    second = ops.linear(first, W)
    third = second + second
    watched = [weakref.ref(t.data) for t in (first, second, third)]
    loss = third.sum()
    del first, second, third
    assert [w() for w in watched] == [None] * 3
    loss.backward()
    np.testing.assert_allclose(x.grad, np.broadcast_to(2 * W.data.sum(axis=0), (3, 4)))


@pytest.mark.parametrize("rows", [2, 8, 16])
@pytest.mark.parametrize("size", [(1024, 128), (100, 2112), (7, 40), (600, 33)])
def test_a_few_rows_are_multiplied_with_parts_of_the_weight_as_with_all_of_it(rng, rows, size):
    W, x = (rng.standard_normal(shape).astype(np.float32) for shape in (size, (rows, size[1])))
    np.testing.assert_allclose(few_rows(x, W), x @ W.T, rtol=0, atol=1e-6 * size[1])


def test_only_inference_multiplies_with_parts_of_a_weight(rng, monkeypatch):
    monkeypatch.setattr(sys.modules[few_rows.__module__], "reads_in_place", lambda: True)
    W, x = (rng.standard_normal(shape).astype(np.float32) for shape in ((600, 40), (4, 40)))
    assert not is_few(x, W)
    with no_grad():
        assert is_few(x, W)
        others = [(x[:1], W), (np.repeat(x, 5, axis=0), W), (x.astype(float), W.astype(float)), (x, W[:40].T)]
        others += [(np.zeros((16, n), np.float32), np.zeros((2, n), np.float32)) for n in (8000, 0)]
        assert [is_few(*pair) for pair in others] == [False] * 6
