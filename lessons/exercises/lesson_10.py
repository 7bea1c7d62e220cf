"""Exercises of lesson 10: merge, unmerge, and what rounding does.

In a terminal:

    minilora check 10                 check your functions
    minilora hint 10.1 --level 1      a nudge; level 2: a sketch; level 3: almost the answer
"""

import numpy as np

# ---- 10.1 · hard, 20 minutes · round to bfloat16


def round_to_bfloat16(x):
    """Each number rounded to the nearest bfloat16; a tie goes to the neighbour whose last bit is 0.

    x: float32 array, no nan, no infinity. Returns a float32 array of that shape.
    A bfloat16 is the upper 16 of the 32 bits of a float32: sign, 8 bits of exponent, 7 of digits.
    """
    raise NotImplementedError


# ---- 10.2 · easy, 10 minutes · take turns without drift


def take_turns(W, updates, order):
    """The matrices that are used when adapters take turns on one base.

    W: float32 array (out, in); updates: list of float32 arrays (out, in), the ΔW of each adapter; order: list of
    positions in `updates`, the adapter of each turn. Returns a list with one matrix for each turn: W plus
    the update of that turn, to the bit, and nothing left over from earlier turns.
    """
    raise NotImplementedError
