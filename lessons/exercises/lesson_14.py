"""Exercises of lesson 14: mixed precision and little memory.

In a terminal:

    minilora check 14                check your functions
    minilora hint 14.1 --level 1     a nudge; level 2: a sketch; level 3: almost the answer
"""

import numpy as np

# ---- 14.1 · medium, 15 minutes · take the step, or skip it


def unscale(g, scale, good, interval):
    """What to do after a backward of scale times the loss: take the step, or skip it.

    g: the gradient of all trained numbers, one array; it is `scale` times too large, and what did
    not fit into float16 is inf or nan in it. good: how many steps in a row were taken so far.

    If any element is inf or nan the step is skipped: the scale is halved, and good is 0. Otherwise
    the step is taken with the true gradient, and good counts it; when good reaches `interval`, the
    scale is doubled and good starts again at 0.

    Returns (taken, g, scale, good). taken: True or False. g: the true gradient; zeros if skipped.
    """
    raise NotImplementedError


# ---- 14.2 · hard, 25 minutes · a loss in chunks


def chunked_loss(h, W, targets, size):
    """The mean cross-entropy and its gradient, never with the logits of more than `size` rows.

    h: (N, d), the states that the head reads. W: (V, d), the head; logits are z = h Wᵀ.
    targets: (N,), the right token of each row. The last chunk may have fewer rows.

    The loss of a row is log Σ e^z - z of the target. Its gradient for z is softmax(z), minus 1 at
    the target. A logit may be as large as 1,000.

    Returns (loss, dh): the mean over the N rows, a number; and its gradient for h, (N, d).
    """
    raise NotImplementedError
