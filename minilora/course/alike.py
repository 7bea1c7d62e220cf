"""A student's function with results of the types that the course's own has, so that a lesson can go on with it.

A check lets lists pass for arrays, and float64 for float32; the cells after it use `.shape`, `.T` and float32 weights.
"""

import copy
import functools
from collections.abc import Callable

import numpy as np

from .compare import plain
from .judge import Exercise
from .mutants import solution


def alike(function: Callable, exercise: Exercise) -> Callable:
    """`function`, which passes the check of `exercise`: arrays, lists and tuples where the course's own has them.

    Called with float32 alone, its arrays are float32.
    """
    right = solution(exercise.lesson, exercise.function)[0](*copy.deepcopy(exercise.cases()[0]))

    @functools.wraps(function)
    def called(*arguments):
        kinds = {a.dtype for a in arguments if isinstance(a, np.ndarray) and a.dtype.kind == "f"}
        return _like(function(*arguments), right, single=kinds == {np.dtype(np.float32)})

    return called


def _like(result, right, single):
    if isinstance(right, list):
        one = right[0] if right else None  # the others are of its type
        return [_like(part, one, single) for part in result]
    if isinstance(right, tuple):
        return tuple(_like(part, one, single) for part, one in zip(result, right, strict=True))
    if not isinstance(right, np.ndarray):
        return plain(result)
    array = np.asarray(plain(result))
    if array.dtype == object:  # of fractions, or of whole numbers too large for NumPy
        array = array.astype(np.float64)
    return array.astype(np.float32) if single and array.dtype == np.float64 else array
