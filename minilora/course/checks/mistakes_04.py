"""Known mistakes in exercises 4.2 and 4.3."""

import numpy as np


def attend(scale=None, see=0, axis: int | tuple[int, ...] = -1, masked=True):
    """Attention with one thing changed: the scale of the scores, the diagonal of the mask, the axis of the softmax."""

    def function(q, k, v):
        T, hd = q.shape
        scores = q @ k.T * (1 / np.sqrt(hd) if scale is None else scale(hd))
        scores = np.where(np.tri(T, k=see) > 0, scores, -1e30) if masked else scores
        p = np.exp(scores - scores.max(axis=axis, keepdims=True))
        return p / p.sum(axis=axis, keepdims=True) @ v

    return function


def weights_of(q, k):  # before they are divided by their sum
    return np.exp(np.where(np.tri(len(q)) > 0, q @ k.T / np.sqrt(q.shape[1]), -np.inf))


def zeros_for_the_future(q, k, v):
    p = np.exp(np.tril(q @ k.T / np.sqrt(q.shape[1])))
    return p / p.sum(axis=-1, keepdims=True) @ v


def cut_after_softmax(q, k, v):
    p = np.exp(q @ k.T / np.sqrt(q.shape[1]))
    return np.tril(p / p.sum(axis=-1, keepdims=True)) @ v


def count(V, d, m, layers, heads, kv_heads, tied, norms=2, final=1, mlp=3, o=1, grouped=True, heads_tied=True):
    kv = d // heads * (kv_heads if grouped else heads)
    block = (1 + o) * d * d + 2 * d * kv + mlp * d * m + norms * d
    return V * d * (1 if tied and heads_tied else 2) + layers * block + final * d


ATTENTION = (
    ("the scores are not divided by √hd", attend(scale=lambda hd: 1.0)),
    ("the scores are divided by hd instead of √hd", attend(scale=lambda hd: 1 / hd)),
    ("the mask is off by one: a token sees the next one too", attend(see=1)),
    ("the mask is off by one: a token does not see itself", attend(see=-1)),
    ("there is no mask: every token sees all", attend(masked=False)),
    ("the softmax runs over the queries instead of the keys", attend(axis=0)),
    ("hidden scores are set to 0: e^0 is 1, so they still count", zeros_for_the_future),
    ("the future is cut off after the softmax: the weights of a row no longer add up to 1", cut_after_softmax),
    (
        "one softmax is taken over the whole table instead of one for each row",
        lambda q, k, v: attend(axis=(0, 1))(q, k, v),
    ),
    (
        "the scores are divided by √T, the number of tokens, instead of √hd",
        lambda q, k, v: attend(scale=lambda hd: len(q) ** -0.5)(q, k, v),
    ),
    ("the scores are multiplied by √hd instead of divided", attend(scale=lambda hd: hd**0.5)),
    ("the weights are never divided by their sum", lambda q, k, v: weights_of(q, k) @ v),
    (
        "keepdims=True is left out where the weights are divided by their sum",
        lambda q, k, v: weights_of(q, k) / weights_of(q, k).sum(axis=-1) @ v,
    ),
    (
        "the weights are returned: they must still be multiplied with v",
        lambda q, k, v: weights_of(q, k) / weights_of(q, k).sum(-1, keepdims=True),
    ),
    (
        "the weights are transposed before v",
        lambda q, k, v: (weights_of(q, k) / weights_of(q, k).sum(-1, keepdims=True)).T @ v,
    ),
    ("queries and keys are exchanged: row i must belong to query i", lambda q, k, v: attend()(k, q, v)),
    (
        "the mask is upside down: a token sees only itself and the tokens after it",
        lambda q, k, v: attend()(q[::-1], k[::-1], v[::-1])[::-1],
    ),
    (
        "the plain mean of the earlier tokens is taken: the scores are not used",
        lambda q, k, v: np.tri(len(q)) @ v / np.arange(1, len(q) + 1)[:, None],
    ),
    ("v is returned as it is", lambda q, k, v: v),
)

COUNT = (
    ("the norm weights are forgotten", lambda *a: count(*a, norms=0, final=0)),
    ("the last norm, after all layers, is forgotten", lambda *a: count(*a, final=0)),
    ("a block has one norm instead of two", lambda *a: count(*a, norms=1)),
    ("keys and values are counted as wide as queries", lambda *a: count(*a, grouped=False)),
    ("the MLP has two matrices instead of three (gate, up, down)", lambda *a: count(*a, mlp=2)),
    ("the output projection o of the attention is forgotten", lambda *a: count(*a, o=0)),
    ("a tied head is counted a second time", lambda *a: count(*a, heads_tied=False)),
    (
        "keys and values are as wide as queries, and the head is counted as if it were tied",
        lambda V, d, m, n, h, kv, tied: count(V, d, m, n, h, kv, True, grouped=False),
    ),
    ("the head is counted as if it were always tied", lambda V, d, m, n, h, kv, tied: count(V, d, m, n, h, kv, True)),
    ("tied and untied are exchanged", lambda V, d, m, n, h, kv, tied: count(V, d, m, n, h, kv, not tied)),
    (
        "d / kv_heads is taken for the width of the keys: it is kv_heads times d / heads",
        lambda V, d, m, n, h, kv, tied: count(V, d, m, n, 1, 1, tied) + n * 2 * d * (d // kv - d),
    ),
    ("a block has three norms instead of two", lambda *a: count(*a, norms=3)),
    (
        "a last norm in every block is counted, and the one after all layers is not",
        lambda *a: count(*a, norms=3, final=0),
    ),
    (
        "keys and values are one head wide: kv_heads is left out",
        lambda V, d, m, n, h, kv, tied: count(V, d, m, n, h, 1, tied),
    ),
    (
        "q and o are counted as narrow as keys and values",
        lambda V, d, m, n, h, kv, tied: count(V, d, m, n, h, kv, tied) + n * (2 * d * (d // h * kv) - 2 * d * d),
    ),
    (
        "one of keys and values is forgotten",
        lambda V, d, m, n, h, kv, tied: count(V, d, m, n, h, kv, tied) - n * d * (d // h * kv),
    ),
    ("the MLP is counted with one matrix instead of three", lambda *a: count(*a, mlp=1)),
    ("the blocks are counted once: layers is left out", lambda V, d, m, n, h, kv, tied: count(V, d, m, 1, h, kv, tied)),
    ("the embedding and the head are left out", lambda V, d, m, n, h, kv, tied: count(0, d, m, n, h, kv, tied)),
    (
        "the biases of every matrix are counted: this decoder has none",
        lambda V, d, m, n, h, kv, tied: count(V, d, m, n, h, kv, tied) + n * (2 * d + 2 * (d // h * kv) + 2 * m + d),
    ),
    (
        "keys and values are counted as square, with both sides narrow",
        lambda V, d, m, n, h, kv, tied: count(V, d, m, n, h, kv, tied) + n * 2 * (d // h * kv) * (d // h * kv - d),
    ),
    (
        "every head gets its own attention matrices: heads share d",
        lambda V, d, m, n, h, kv, tied: (
            count(V, d, m, n, h, kv, tied) + (h - 1) * n * (2 * d * d + 2 * d * (d // h * kv))
        ),
    ),
)
