"""Exercises of lesson 4: a transformer you can count.

In a terminal:

    minilora check 4                 check your functions
    minilora hint 4.1 --level 1      a nudge; level 2: a sketch; level 3: almost the answer
"""

import numpy as np

# ---- 4.1 · easy, 5 minutes · RMSNorm


def rms_norm(x, w, eps):
    """Each row of x divided by its root mean square, then weighted by w. eps is added to the mean, under the root.

    x: (..., d), a row is the last axis; w: (d,); eps: a number. Returns an array of the shape of x.
    """
    raise NotImplementedError


# ---- 4.2 · medium, 20 minutes · attention that looks back only


def causal_attention(q, k, v):
    """One head of causal attention: token i averages v over the tokens 0 ... i.

    q, k, v: (T, hd), a row for each token. Returns (T, hd).
    The weights of row i are the softmax of q_i · k_j / √hd over j = 0 ... i; the tokens after i do not count.
    """
    raise NotImplementedError


# ---- 4.3 · medium, 10 minutes · a transformer you can count


def count_parameters(vocab, d, m, layers, heads, kv_heads, tied):
    """The number of parameters of a Llama decoder without biases.

    vocab: tokens in the vocabulary; d: width; m: width of the MLP; layers: blocks; heads: query heads, each d / heads
    wide; kv_heads: key and value heads; tied: True when the head is the embedding itself, so that it counts once.
    """
    raise NotImplementedError
