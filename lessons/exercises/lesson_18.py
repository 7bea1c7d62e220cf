"""Exercises of lesson 18: prompts and prefixes.

In a terminal:

    minilora check 18                check your functions
    minilora hint 18.1 --level 1     a nudge; level 2: a sketch; level 3: almost the answer
"""

import numpy as np

# ---- 18.1 · medium, 15 minutes · attention with a prefix


def attend_with_prefix(q, K, V, Pk, Pv):
    """What attention gives for one query, with trained keys and values in front of the text's own.

    Each key, of the prefix and of the text, has a score: its product with q, divided by the root of
    the width d. The result is the mean of all values, weighted by the softmax of the scores.

    q: (d,), K and V: (T, d) of the text, Pk and Pv: (n, d) of the prefix; n may be 0.
    Returns (d,).
    """
    raise NotImplementedError


# ---- 18.2 · medium, 10 minutes · a prefix of zeros


def zero_prefix_factor(scores, n):
    """By which number a prefix of n zero keys and zero values multiplies the result of attention.

    scores: (T,), the scores of the text's keys, as softmax takes them; n: a whole number.
    Returns a number.
    """
    raise NotImplementedError
