"""Exercises of lesson 12: leave the toy.

In a terminal:

    minilora check 12                check your functions
    minilora hint 12.1 --level 1     a nudge; level 2: a sketch; level 3: almost the answer
"""

import numpy as np

# ---- 12.1 · medium, 10 minutes · merge into a weight that is stored transposed


def merge_conv1d(W, A, B, s):
    """The merged weight of GPT-2's Conv1D, which stores W as (in, out) and computes y = x W.

    W: (in, out), A: (r, in), B: (out, r); s: number. The adapter adds s (x Aᵀ) Bᵀ, as always.
    Returns a new array (in, out).
    """
    raise NotImplementedError


# ---- 12.2 · easy, 10 minutes · refuse a wrong key


def compare_names(expected, found):
    """The reasons why an adapter file does not fit a model.

    expected: {name: shape}, the tensors that the model expects; found: {name: shape}, those in the file. Returns
    (missing, extra, wrong_shape), three lists of names: expected but not found; found but not expected; in both, with
    different shapes. All three are empty when the file fits.
    """
    raise NotImplementedError
