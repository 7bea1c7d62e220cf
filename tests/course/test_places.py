"""A mistake that nobody knows is told by where its result is right."""

import numpy as np
import pytest

from minilora.course.places import right_where

W = np.arange(6.0).reshape(3, 2)


def said(change, cases=((W,), (W + 1,)), parameters=("W",)):
    return right_where(list(cases), parameters, [[change(*c)] for c in cases], [[c[0]] for c in cases])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda W: W * [[1], [2], [3]], "only the first row is right"),
        (lambda W: W + [[0], [0], [1]], "the last row is wrong, the others are right"),
        (lambda W: W + [[1, 0]], "the first column is wrong, the others are right"),
        (lambda W: W[::-1], "the rows or elements are right, but in another order"),
        (lambda W: W[[1, 2, 1]], "each row or element is a right one, but of another place"),
        (lambda W: W[:2], "the last rows or elements are missing"),
        (lambda W: W[[0, 2]], "some rows or elements are missing"),
        (lambda W: W * 1.1 + 3, None),
    ],
)
def test_rows_and_columns_that_are_right_are_told(change, sentence):
    cases = ((W + 1,), (W + 2,))
    assert said(change, cases) == sentence


def test_the_cases_that_are_right_are_told_where_one_condition_alone_fits():
    cases = [(W, r, alpha) for r, alpha in ((1, 2.0), (1, -3.0), (2, 2.0), (3, -2.0))]
    assert said(lambda W, r, alpha: W * r, cases, ("W", "r", "alpha")) == (
        "the result is right where r is 1, and wrong elsewhere"
    )


def test_two_conditions_that_fit_tell_nothing():
    cases = [(W, 1, 1), (W, 1, 1), (W, 2, 5), (W, 3, 4)]
    assert said(lambda W, r, n: W * r + 1 - n, cases, ("W", "r", "n")) is None


def test_an_error_in_some_cases_tells_where_it_is_right():
    cases = [(W, None), (W, None), (W, np.ones(1))]
    right = [[W], [W], [W]]
    assert right_where(cases, ("W", "second"), [[W], [W], "ValueError"], right) == (
        "the result is right where second is None, and wrong elsewhere"
    )


def test_one_part_of_several_results_is_named():
    cases = [(W,), (W + 1,)]
    results = [[c[0], c[0][::-1]] for c in cases]
    right = [[c[0], c[0]] for c in cases]
    assert right_where(cases, ("W",), results, right) == (
        "the rows or elements are right, but in another order, in the second result"
    )


def test_right_results_in_other_places_are_told():
    cases = [(W,), (W + 1,)]
    results = [[c[0] + 1, c[0]] for c in cases]
    right = [[c[0], c[0] + 1] for c in cases]
    assert right_where(cases, ("W",), results, right) == "the right results are there, but in other places"


def test_a_list_with_two_kinds_of_numbers_has_no_other_places():
    cases = [(np.zeros(3),), (np.ones(3),)]
    right = [[np.array([1.0, 2.0, 1.0])], [np.array([2.0, 2.0, 1.0])]]
    results = [[np.array([2.0, 2.0, 2.0])], [np.array([1.0, 2.0, 2.0])]]
    assert right_where(cases, ("x",), results, right) is None
