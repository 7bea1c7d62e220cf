"""Exercises of lesson 21: distillation.

In a terminal:

    minilora check 21                check your functions
    minilora hint 21.1 --level 1     a nudge; level 2: a sketch; level 3: almost the answer

The notation: z are the student's logits, t the teacher's, both (n, V); T is the temperature.
"""

import numpy as np

# ---- 21.1 · medium, 15 minutes · how far from the teacher


def divergence(z, t, T):
    """How far the student is from its teacher: T² times the mean over the n rows of Σ p log(p / q).

    p is the softmax of a row of t / T, and q that of the same row of z / T. The sum is over the V
    tokens. A logit may be as large as 1,000.

    z, t: (n, V); T: a number above 0. Returns a number.
    """
    raise NotImplementedError


# ---- 21.2 · medium, 15 minutes · the gradient of the divergence


def divergence_gradient(z, t, T):
    """The gradient of exercise 21.1's number for the student's logits z. The teacher is fixed.

    z, t: (n, V); T: a number above 0. Returns dz: (n, V).
    """
    raise NotImplementedError
