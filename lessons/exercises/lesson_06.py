"""Exercises of lesson 6: freeze W, train B and A.

In a terminal:

    minilora check 6                 check your functions
    minilora hint 6.2 --level 1      a nudge; level 2: a sketch; level 3: almost the answer

The notation everywhere: W (out, in) frozen, A (r, in), B (out, r), scale s = alpha / r.
"""

import numpy as np

# ---- 6.1 · easy, 5 minutes · the forward


def lora_forward(x, W, A, B, alpha, r):
    """y for a layer with the frozen W and the adapter A, B beside it; the adapter's part is scaled by alpha / r.

    x: (N, in), W: (out, in), A: (r, in), B: (out, r); alpha, r: numbers. Returns y: (N, out).
    """
    raise NotImplementedError


# ---- 6.2 · medium, 20 minutes · the two gradients


def lora_gradients(x, g, A, B, alpha, r):
    """dA and dB, given g = dL/dy for the y of exercise 6.1.

    x: (N, in), g: (N, out), A: (r, in), B: (out, r); alpha, r: numbers. Returns (dA, dB), shaped as A and B.
    There is no W here: it is frozen, nobody asks for its gradient.
    """
    raise NotImplementedError


# ---- 6.3 · medium, 10 minutes · what flows on to the layer below


def input_gradient(g, W, A, B, alpha, r):
    """dx, given g = dL/dy for the y of exercise 6.1: what the layer below receives.

    g: (N, out), W: (out, in), A: (r, in), B: (out, r); alpha, r: numbers. Returns dx: (N, in).
    """
    raise NotImplementedError
