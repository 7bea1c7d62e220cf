"""Exercises of lesson 17: how to start.

In a terminal:

    minilora check 17                check your functions
    minilora hint 17.1 --level 1     a nudge; level 2: a sketch; level 3: almost the answer

The notation: W (out, in) frozen, A (r, in), B (out, r), scale s = alpha / r. A start is A0 and B0.
"""

import numpy as np

# ---- 17.1 · medium, 15 minutes · PiSSA's start


def pissa_start(W, r, alpha):
    """A start from the largest singular values of W, which leaves the layer's function unchanged.

    s B0 A0 is the best part of rank r of W (lesson 5), and each singular value is shared equally:
    row k of A0 and column k of B0 have the same length. The layer keeps the rest of W, frozen:
    at the start rest + s B0 A0 is W again.

    W: (out, in); r: a whole number, at most the smaller side; alpha: a number above 0.
    Returns (A0, B0, rest): (r, in), (out, r), (out, in).
    """
    raise NotImplementedError


# ---- 17.2 · medium, 10 minutes · OLoRA's start


def olora_start(W, r, alpha):
    """A start from W = Q R, where the columns of Q have length 1 and are at right angles.

    B0 is the first r columns of Q, A0 the first r rows of R. The layer keeps the rest of W, frozen:
    at the start rest + s B0 A0 is W again.

    W: (out, in); r: a whole number, at most the smaller side; alpha: a number above 0.
    Returns (A0, B0, rest): (r, in), (out, r), (out, in).
    """
    raise NotImplementedError


# ---- 17.3 · easy, 5 minutes · two rates


def two_rates(names, lr, ratio):
    """LoRA+: the learning rate of each trained matrix; that of B is `ratio` times that of A.

    names: list of texts, names as they are in a model, such as
    "model.layers.0.self_attn.q_proj.lora_A.default.weight": one of the parts between the dots is
    lora_A or lora_B. A module's own name may have them too. lr: the rate of A. Returns a list.
    """
    raise NotImplementedError
