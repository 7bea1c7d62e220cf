"""Lesson 18: attention with a prefix, and what a prefix of zeros does to it."""

import numpy as np

from ..compare import as_array, same, same_shape, small
from ..judge import Exercise
from .mistakes_of_the_family import OTHER

# d, T, n; cases where the sizes agree after the others
SIZES = ((1, 1, 1), (2, 1, 1), (3, 2, 1), (2, 3, 4), (4, 5, 2), (3, 4, 0), (3, 3, 3), (4, 2, 4))

# ---- 18.1


def attention_cases():
    rng = np.random.default_rng(181)
    return [
        (small(rng, d), *(small(rng, T, d) for _ in range(2)), *(small(rng, n, d) for _ in range(2)))
        for d, T, n in SIZES
    ]


def attention(scale=lambda q: 1 / np.sqrt(len(q)), key=lambda P: P, value=lambda P: P, soft=True, text_soft=False):
    def function(q, K, V, Pk, Pv):
        keys, values = np.concatenate([key(Pk), K]), np.concatenate([value(Pv), V])
        weights = np.exp(keys @ q * scale(q)) if soft else keys @ q * scale(q)
        total = weights[len(Pk) :].sum() if text_soft else weights.sum()
        return weights @ values / (total if soft else 1)

    return function


def attention_shape(f, cases):
    for c in cases:
        same_shape(as_array(f(*c), "the result", c), c[0].shape, "the result", "(d,)", c)


def no_prefix_is_attention(f, cases):
    for q, K, V, Pk, Pv in cases:
        c = (q, K, V, Pk[:0], Pv[:0])
        same(f(*c), attention()(*c), "the result without a prefix (n = 0)", c)


def zero_query_is_the_mean(f, cases):
    for q, K, V, Pk, Pv in cases:
        c = (0 * q, K, V, Pk, Pv)
        same(f(*c), np.concatenate([Pv, V]).mean(axis=0), "the result for q = 0, the plain mean of all values,", c)


def attention_is_right(f, cases):
    for c in cases:
        same(f(*c), attention()(*c), "the result", c)


# ---- 18.2


def factor_cases():
    rng = np.random.default_rng(182)
    return [
        (np.zeros(1), 1),
        (np.zeros(3), 2),
        (np.zeros(2), 0),
        *((small(rng, T), n) for T, n in ((2, 1), (4, 3), (5, 16))),
    ]


def factor(of=lambda s: np.exp(s).sum(), more=lambda n: n):
    return lambda scores, n: of(scores) / (of(scores) + more(n))


def no_prefix_is_one(f, cases):
    for scores, _ in cases:
        c = (scores, 0)
        same(f(*c), 1.0, "the factor for n = 0", c)


def equal_scores(f, cases):
    for scores, n in cases:
        c = (0 * scores, n)
        same(f(*c), len(scores) / (len(scores) + n), "the factor where all scores are 0", c)


def factor_is_right(f, cases):
    for c in cases:
        same(f(*c), factor()(*c), "the factor", c)


EXERCISES = (
    Exercise(
        "18.1",
        "attend_with_prefix",
        "Attention with a prefix",
        "medium",
        15,
        attention_cases,
        (
            ("has the shape (d,)", attention_shape),
            ("is plain attention without a prefix", no_prefix_is_attention),
            ("is the plain mean of all values for q = 0", zero_query_is_the_mean),
            ("weights all values by one softmax", attention_is_right),
        ),
        (
            ("the prefix is left out", lambda q, K, V, Pk, Pv: attention()(q, K, V, Pk[:0], Pv[:0])),
            ("the scores are not divided by the root of d", attention(scale=lambda q: 1.0)),
            ("the scores are divided by d, not by its root", attention(scale=lambda q: 1 / len(q))),
            ("the scores are multiplied by the root of d", attention(scale=lambda q: np.sqrt(len(q)))),
            (
                "keys and values of the prefix are exchanged",
                lambda q, K, V, Pk, Pv: attention()(q, K, V, Pv, Pk),
            ),
            (
                "the softmax is over the text alone, and the prefix is added to it: it is one softmax",
                attention(text_soft=True),
            ),
            (
                "keys and values of the text are exchanged",
                lambda q, K, V, Pk, Pv: attention()(q, V, K, Pk, Pv),
            ),
            (
                "prefix and text have a softmax each, and the two results are added",
                lambda q, K, V, Pk, Pv: (
                    attention()(q, K, V, Pk[:0], Pv[:0]) + (attention()(q, Pk, Pv, Pk[:0], Pv[:0]) if len(Pk) else 0)
                ),
            ),
            *OTHER["18.1"],
        ),
        (
            "Put the prefix in front of the text's keys and values. From then on it is plain attention.",
            "np.concatenate([Pk, K]) has n + T rows; one softmax over all n + T scores.",
            "scores = keys @ q / np.sqrt(len(q)); weights = softmax of them; return weights @ values",
        ),
    ),
    Exercise(
        "18.2",
        "zero_prefix_factor",
        "A prefix of zeros",
        "medium",
        10,
        factor_cases,
        (
            ("is 1 without a prefix", no_prefix_is_one),
            ("is T / (T + n) where all scores are 0", equal_scores),
            ("is the share of the text in the softmax", factor_is_right),
        ),
        (
            (
                "a prefix of zeros changes nothing here: but a key of zero has the score 0, and e to the 0 is 1",
                lambda scores, n: 1.0,
            ),
            (
                "only the number of places is counted, as if all scores were 0",
                lambda scores, n: len(scores) / (len(scores) + n),
            ),
            ("the scores are added without e^", factor(of=lambda s: s.sum() + len(s) * (s == 0).all())),
            ("the share of the prefix is returned; the text's is asked for", lambda scores, n: 1 - factor()(scores, n)),
            ("the prefix counts once, not n times", factor(more=lambda n: min(n, 1))),
            ("the factor is upside down", lambda scores, n: 1 / factor()(scores, n)),
            (
                "the largest score is subtracted from those of the text alone; the zero keys have the score 0 - largest",
                factor(of=lambda s: np.exp(s - s.max()).sum()),
            ),
            ("the mean of e^score is taken, not the sum", factor(of=lambda s: np.exp(s).mean())),
        ),
        (
            "Which score has a key of zeros? And what does its value add to the sum?",
            "Each zero key adds e^0 = 1 below the fraction, and its zero value nothing above.",
            "the sum of e^scores, over that sum plus n",
        ),
    ),
)
