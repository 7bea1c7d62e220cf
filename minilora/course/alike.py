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
    """`function`, which passes the check of `exercise`: an array in place of a list, float32 where all is float32."""
    right = solution(exercise.lesson, exercise.function)[0](*copy.deepcopy(exercise.cases()[0]))

    @functools.wraps(function)
    def called(*arguments):
        kinds = {a.dtype for a in arguments if isinstance(a, np.ndarray) and a.dtype.kind == "f"}
        return _like(function(*arguments), right, single=kinds == {np.dtype(np.float32)})

    return called


def _like(result, right, single):
    if isinstance(right, tuple):
        return tuple(_like(part, one, single) for part, one in zip(result, right, strict=True))
    if not isinstance(right, np.ndarray):
        return result
    array = np.asarray(plain(result))
    return array.astype(np.float32) if single and array.dtype == np.float64 else array
