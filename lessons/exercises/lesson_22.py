"""Exercises of lesson 22: many tenants.

In a terminal:

    minilora check 22                check your functions
    minilora hint 22.1 --level 1     a nudge; level 2: a sketch; level 3: almost the answer
"""

import numpy as np

# ---- 22.1 · medium, 15 minutes · an adapter for each row


def mixed_update(x, slots, A, B, s):
    """What the adapters add to the output of a layer, where every row of the batch has its own.

    Row i has the adapter in slot a = slots[i]: its update is s[a] times x[i] A[a]ᵀ B[a]ᵀ.
    A slot of -1 is a row of the base alone: its update is zero.

    x: (N, in), slots: (N,) whole numbers, A: (n, r, in), B: (n, out, r), s: (n,).
    Returns (N, out).
    """
    raise NotImplementedError


# ---- 22.2 · medium, 15 minutes · least recently used


def loads(requests, slots):
    """How many loads a server makes that has room for `slots` adapters, and forgets the least
    recently used one when it needs room.

    At first no adapter is there. A request whose adapter is in a slot needs no load; any other
    needs one, and if all slots are taken, the adapter falls whose last request is longest ago.

    requests: list of names, in order; slots: a whole number, at least 1. Returns a whole number.
    """
    raise NotImplementedError
