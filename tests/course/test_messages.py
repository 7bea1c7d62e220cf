"""NumPy's errors in words: one sentence with the names and shapes of the line that raised."""

import numpy as np
import pytest

from minilora.course.messages import as_code, in_words

x, W, A = np.ones((5, 3)), np.ones((4, 3)), np.ones((2, 3))
one, two = np.ones(3), 2.0


def add_in_place():
    y = np.ones((2, 2))
    y += A
    return y


def nothing():
    return None


@pytest.mark.parametrize(
    ("raises", "words"),
    [
        (lambda: x @ W, "x (5, 3) @ W (4, 3): the inner sizes 3 and 4 differ; W.T is (3, 4), which would fit"),
        (lambda: W.T @ x.T, "W.T (3, 4) @ x.T (3, 5): the inner sizes 4 and 3 differ; W is (4, 3), which would fit"),
        (lambda: 2 * x @ W, "2 * x (5, 3) @ W (4, 3): the inner sizes 3 and 4 differ; W.T is (3, 4), which would fit"),
        (
            lambda: x * W,
            "x (5, 3) and W (4, 3) do not fit: they are combined element by element, so each size must be equal, or 1",
        ),
        (
            lambda: A * x.T,
            "A (2, 3) and x.T (3, 5) do not fit: they are combined element by element, so each size must be equal, "
            "or 1; the matrix product is @",
        ),
        (
            lambda: A + A.T,
            "A (2, 3) and A.T (3, 2) do not fit: they are combined element by element, so each size must be equal, "
            "or 1; one of them is transposed",
        ),
        (
            add_in_place,
            "y (2, 2) and A (2, 3) do not fit: they are combined element by element, so each size must be equal, or 1",
        ),
        (lambda: x @ two, "x (5, 3) @ two (): a single number has no matrix product, multiply by it with *"),
        (
            lambda: np.ones((2, 3)) @ np.ones(2),
            "the shapes of a matrix product do not fit: the inner sizes 3 and 2 differ",
        ),
        (
            lambda: np.ones(2) + np.ones(3),
            "arrays of the shapes (2,) and (3,) are combined element by element: each size must be equal, or 1",
        ),
        (lambda: one[0, 0], "the array has fewer axes than the index asks for: it must work for any shape"),
        (lambda: one.sum(axis=1), "the array has fewer axes than that: axes count from 0"),
        (
            lambda: 1 if one > 0 else 0,
            "a condition of a whole array is neither true nor false: use np.where, or a loop",
        ),
        (lambda: nothing() + 1, "something is None here: a function without `return` gives None"),
        (lambda: int("x"), ""),
    ],
)
def test_an_error_is_one_sentence(raises, words):
    with pytest.raises(Exception, match=r".") as error:
        raises()
    assert in_words(error.value) == words


@pytest.mark.parametrize("value", [(1,), [("a", "b"), []], {"a": (1, 2)}, 0.5, None])
def test_an_argument_as_code_is_the_argument_again(value):
    assert eval(as_code(value)) == value


@pytest.mark.parametrize("value", [np.array([[1.5, -2.0]]), np.array([1], np.int32), np.zeros((0,), np.float32)])
def test_an_array_as_code_has_its_type(value):
    again = eval(as_code(value), {"np": np})
    assert (again.dtype, again.tolist()) == (value.dtype, value.tolist())
