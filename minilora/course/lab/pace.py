"""How long a lesson would take with a reader's function, before it computes with it."""

import time
from collections.abc import Callable

from ..mutants import solution
from ..runner import exercise

ROWS = 8  # of the call that is timed
CALLS = 96 * 28  # a training step has 16 lines of some 48 tokens, 96 times as many rows, in 28 layers
LONGEST = 4.0  # seconds a step: fifteen steps a minute, which teach the base nothing


def at_pace(
    number: str, function: Callable, *arguments, calls: int = CALLS, what="a training step", longest: float = LONGEST
) -> Callable:
    """`function`, a reader's for exercise `number`, or the course's own where the lesson would take minutes with it.

    arguments: those of one call with ROWS rows, in a layer's own sizes; calls: how many such calls `what` has, which
    may take `longest` seconds. It prints why where it takes the course's own.
    """
    start = time.perf_counter()
    function(*arguments)
    each = calls * (time.perf_counter() - start)
    if each <= longest:
        return function
    chosen = exercise(number)
    print(
        f"{number}: {what} would take {each:,.0f} s with your {chosen.function}, so the lesson takes the course's "
        "own here. A loop over numbers is slow in Python; one operation on whole arrays is fast."
    )
    return solution(chosen.lesson, chosen.function)[0]
