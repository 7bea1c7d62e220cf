"""Exercise of lesson 11: many adapters on one base.

In a terminal:

    minilora check 11                check your function
    minilora hint 11.1 --level 1     a nudge; level 2: a sketch; level 3: almost the answer
"""

import numpy as np

# ---- 11.1 · medium, 15 minutes · two adapters as one


def stack_adapters(A1, B1, s1, A2, B2, s2):
    """One adapter, with scale 1, whose update B A is exactly s1 B1 A1 + s2 B2 A2.

    A1: (r1, in), B1: (out, r1), A2: (r2, in), B2: (out, r2); s1, s2: numbers. r1 and r2 may differ.
    Returns (A, B): A (r, in), B (out, r), with r at most r1 + r2.
    """
    raise NotImplementedError
