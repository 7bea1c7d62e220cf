"""A lesson goes on with lists and float64 that passed a check, as arrays and float32."""

from fractions import Fraction

import numpy as np
import pytest

from minilora import Tensor
from minilora.course.alike import alike
from minilora.course.runner import exercise


def as_lists(W, A, B, alpha, r):
    return (W + alpha / r * B @ A).tolist()


def in_a_list(x, g, A, B, alpha, r):
    s = alpha / r
    return [s * (g @ B).T @ x, (s * g.T @ (x @ A.T)).tolist()]


def matrices(kind):
    return [np.ones(shape, kind) for shape in ((2, 3), (1, 3), (2, 1))]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_list_becomes_an_array_of_the_type_of_the_arguments(kind):
    merged = alike(as_lists, exercise("0.1"))(*matrices(kind), 4.0, 2)
    assert merged.dtype == kind and merged.tolist() == [[3.0] * 3] * 2


def test_parts_become_a_tuple_of_arrays():
    dA, dB = alike(in_a_list, exercise("6.2"))(np.ones((4, 3)), np.ones((4, 2)), *matrices(float)[1:], 4.0, 2)
    assert (dA.shape, dB.shape) == ((1, 3), (2, 1))


def test_lists_stay_lists_where_the_course_has_lists():
    def compare(expected, found):
        return [["a"], [], []]

    assert alike(compare, exercise("12.2"))({"a": (1,)}, {}) == (["a"], [], [])


def test_a_tuple_becomes_a_list_where_the_course_has_a_list():
    assert alike(lambda parts, pair: ("ab",), exercise("24.1"))(["a", "b"], ("a", "b")) == ["ab"]


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_a_list_of_arrays_has_arrays(kind):
    first, last = alike(lambda W, updates, order: kind([[[1.0]], [[2.0]]]), exercise("10.2"))(np.ones((1, 1)), [], [])
    assert (first.tobytes(), last.shape) == (np.ones(1).tobytes(), (1, 1))


def test_a_number_in_a_tensor_becomes_one_that_can_be_written():
    assert f"{alike(lambda size, second: Tensor(4.5), exercise('13.3'))(64, None):.2f}" == "4.50"


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_fractions_become_numbers_of_the_type_of_the_arguments(kind):
    def exact(W, A, B, alpha, r):
        return [[Fraction(1, 3)]]

    assert alike(exact, exercise("0.1"))(*matrices(kind), 4.0, 2).dtype == kind
