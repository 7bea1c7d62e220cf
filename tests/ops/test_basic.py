"""Picking, joining and reducing, beside NumPy."""

import numpy as np
import pytest
from engine_cases import assert_close

from minilora import ops
from minilora.autograd import Tensor


@pytest.fixture
def x(rng):
    return rng.standard_normal((3, 4))


def test_pick_rows_takes_rows_in_the_order_given(x):
    assert_close(ops.pick_rows(Tensor(x), np.array([2, 0])), [x[2], x[0]])


def test_concat_puts_one_behind_the_other(x):
    assert_close(ops.concat([Tensor(x), Tensor(x[:1])]), [*x, x[0]])


def test_mean_over_an_axis_is_the_sum_over_its_length(x):
    assert_close(ops.mean(Tensor(x), axis=0, keepdims=True), [[sum(column) / 3 for column in x.T]])


def test_sum_without_an_axis_is_over_everything(x):
    assert_close(ops.sum(Tensor(x)), sum(x.ravel()))


def test_arithmetic_on_views_is_that_of_numpy(x):
    assert_close(ops.div(Tensor(x), 2.0) - Tensor(x) * 0.5 + Tensor(x).T.T.reshape(3, 4)[:, ::1], x)


def test_an_index_may_be_a_numpy_integer():
    x = Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    x[np.int64(1), np.int32(2)].backward()
    assert x.grad.tolist() == [[0, 0, 0], [0, 0, 1]]
