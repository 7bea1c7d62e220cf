"""Exercises of lesson 19: adding and merging.

In a terminal:

    minilora check 19                check your functions
    minilora hint 19.1 --level 1     a nudge; level 2: a sketch; level 3: almost the answer

The notation: an adapter's update is B A, with A (r, in) and B (out, r); its scale is in its weight w.
"""

import numpy as np

# ---- 19.1 · easy, 10 minutes · the rule called linear


def linear_update(A1, B1, A2, B2, w1, w2):
    """The update that the rule "linear" makes of two adapters: it adds As and Bs apart.

    Each A and each B is multiplied by the root of the size of its adapter's weight. A negative
    weight gives its sign to A alone. Then the As are added, the Bs are added, and the two sums are
    multiplied.

    A1, A2: (r, in), B1, B2: (out, r); w1, w2: numbers, not zero. Returns the update: (out, in).
    """
    raise NotImplementedError


# ---- 19.2 · hard, 25 minutes · TIES


def ties_update(updates, density):
    """TIES: trim each update, elect a sign for each number, and average what agrees.

    Trim: of each update the int(density · n) numbers of largest size stay, the others become 0.
    Elect: for each of the n places, the sign of the sum of the trimmed updates.
    Average: for each place, the mean of those trimmed numbers that have the elected sign. Numbers
    that were trimmed do not count. Where none is left, 0.

    updates: (T, n), one row for each adapter; density: a number from 0 to 1. Returns (n,).
    """
    raise NotImplementedError
