"""Exercises of lesson 3: one step of learning.

In a terminal:

    minilora check 3                 check your functions
    minilora hint 3.2 --level 1      a nudge; level 2: a sketch; level 3: almost the answer

The notation everywhere: dW is the gradient of the loss for W, in W's shape; lr is the learning rate.
"""

import numpy as np

# ---- 3.1 · medium, 10 minutes · one step on a matrix


def matrix_step(W, x, y, lr):
    """W after one step of gradient descent. The layer predicts x Wᵀ; it should predict y.

    The loss is the mean over the N rows of half the squared distance: 1/N Σ ½ ‖x_i Wᵀ - y_i‖².
    W: (out, in), x: (N, in), y: (N, out); lr: a number. Returns the new W: (out, in).
    """
    raise NotImplementedError


# ---- 3.2 · hard, 20 minutes · one step of AdamW


def adamw_step(p, g, m, v, t, lr, beta1, beta2, eps, decay):
    """One step of AdamW on the array p with the gradient g. It has five parts, in this order:

    1. m, the running mean of the gradients: a share beta1 of the old m stays, the rest is g.

    2. v, the same with beta2 for the squares of the gradients.

    3. m and v start at zero, so both are too small: divide each by 1 - betaᵗ (t = 1 at first).

    4. Decay: p loses the share lr · decay of itself.

    5. The step: p moves against the corrected m, over (root of the corrected v) + eps, times lr.

    p, g, m, v: arrays of one shape; t: a whole number from 1 on; the others: numbers.
    Returns (p, m, v), all new; m and v without part 3, as the next step needs them.
    """
    raise NotImplementedError
