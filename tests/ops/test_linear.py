"""Products and lookups: their values by hand, and what they keep for the backward."""

import weakref

import numpy as np
import pytest
from engine_cases import assert_close

from minilora import ops
from minilora.autograd import Tensor


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
