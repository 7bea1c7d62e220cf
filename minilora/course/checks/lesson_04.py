"""Lesson 4: the parts of a Llama decoder, and how many numbers it has."""

import numpy as np

from ...models.llama import LlamaConfig, LlamaForCausalLM
from ..compare import Wrong, as_array, same, same_shape, small
from ..judge import Exercise
from .mistakes import OTHER
from .mistakes_04 import ATTENTION, COUNT

# ---- 4.1


def rms_cases():
    rng = np.random.default_rng(31)
    return [
        (np.array([[3.0, 4.0]]), np.array([1.0, 1.0]), 0.0),
        (small(rng, 2, 3), small(rng, 3), 0.0),
        (small(rng, 3, 3), small(rng, 3), 0.5),
        (small(rng, 2, 3, 4), small(rng, 4), 0.1),
        (small(rng, 4), small(rng, 4), 0.3),
        (small(rng, 2, 2, 2), small(rng, 2), 0.2),
    ]


def rms_shape(f, cases):
    for arguments in cases:
        same_shape(as_array(f(*arguments), "y", arguments), arguments[0].shape, "y", "like x", arguments)


def rms_is_one(f, cases):
    x, w, eps = cases[0]
    y = as_array(f(x, w, eps), "y", cases[0])
    mean_square = float((y * y).mean())
    if abs(mean_square - 1) > 1e-5:
        raise Wrong(f"with w = 1 and eps = 0 the mean of the squares of y is {mean_square:.6g}, expected 1", cases[0])


def rms_ignores_size(f, cases):
    x, w, eps = cases[1]
    same(f(10 * x, w, eps), as_array(f(x, w, eps), "y", cases[1]), "y for a ten times larger x", (10 * x, w, eps))


def rms_is_right(f, cases):
    for x, w, eps in cases:
        expected = np.empty(x.shape)
        for place in np.ndindex(*x.shape[:-1]):
            row = x[place]
            expected[place] = w * row / np.sqrt(sum(v * v for v in row) / len(row) + eps)
        same(f(x, w, eps), expected, "y", (x, w, eps), factors={"√d": x.shape[-1] ** 0.5, "d": float(x.shape[-1])})


# ---- 4.2


def attention_cases():
    rng = np.random.default_rng(32)
    return [tuple(small(rng, T, hd) for _ in range(3)) for T, hd in ((1, 2), (2, 1), (3, 4), (5, 2), (3, 3))]


def attention_shape(f, cases):
    for q, k, v in cases:
        same_shape(as_array(f(q, k, v), "o", (q, k, v)), v.shape, "o", "(T, hd)", (q, k, v))


def attention_first(f, cases):
    for q, k, v in cases:
        got = as_array(f(q, k, v), "o", (q, k, v))[0]
        if not np.allclose(got, v[0], 1e-5, 1e-8):
            raise Wrong(
                f"the first token sees only itself, so its output is v[0] = {v[0].tolist()}; "
                f"yours is {np.round(got, 4).tolist()}",
                (q, k, v),
            )


def attention_looks_back_only(f, cases):
    for q, k, v in cases[1:]:
        before = as_array(f(q, k, v), "o", (q, k, v))
        k2, v2 = k.copy(), v.copy()
        k2[-1] += 5.0
        v2[-1] += 5.0
        after = as_array(f(q, k2, v2), "o", (q, k2, v2))
        moved = np.flatnonzero(np.abs(after[:-1] - before[:-1]).max(axis=-1) > 1e-9)
        if moved.size:
            raise Wrong(
                f"the output of token {moved[0]} changes when the last token ({len(q) - 1}) changes: it looks "
                "into the future",
                (q, k, v),
                "a token looks into the future",
            )


def attention_averages(f, cases):
    for q, k, v in cases:
        flat = np.full_like(v, 2.0)
        same(f(q, k, flat), flat, "o where every v is 2 (the weights of a row must add up to 1)", (q, k, flat))


def attention_is_right(f, cases):
    for q, k, v in cases:
        expected = np.zeros_like(v)
        for i in range(len(q)):
            weights = np.exp([q[i] @ k[j] / np.sqrt(len(q[i])) for j in range(i + 1)])
            expected[i] = sum(w * v[j] for j, w in enumerate(weights / weights.sum()))
        same(f(q, k, v), expected, "o", (q, k, v))


# ---- 4.3


def count_cases():
    return [
        (10, 4, 6, 1, 1, 1, False),
        (10, 8, 6, 2, 4, 2, True),
        (1024, 128, 352, 4, 4, 2, True),
        (128256, 4096, 14336, 32, 32, 8, False),
        (7, 12, 10, 3, 6, 3, False),
        (9, 6, 5, 2, 3, 3, True),
    ]


def count_one_number(f, cases):
    if as_array(f(*cases[0]), "the count", cases[0]).size != 1:
        raise Wrong("expected one number", cases[0], "several numbers in place of one")


def count_is_right(which):
    def check(f, cases):
        for arguments in cases[which]:
            V, d, m, layers, heads, kv_heads, tied = arguments
            model = LlamaForCausalLM(LlamaConfig(V, d, m, layers, heads, kv_heads, tie_word_embeddings=tied))
            expected = sum(p.size for p in model.parameters())  # by shape: nothing is allocated
            got = float(as_array(f(*arguments), "the count", arguments).reshape(()))
            if got != expected:
                raise Wrong(
                    f"the count for {arguments} is {expected:,}; yours is {got:,.0f}, "
                    f"{abs(got - expected):,.0f} too {'many' if got > expected else 'few'}",
                    arguments,
                )

    return check


EXERCISES = (
    Exercise(
        "4.1",
        "rms_norm",
        "RMSNorm",
        "easy",
        5,
        rms_cases,
        (
            ("has the shape of x", rms_shape),
            ("makes the mean square of each row 1", rms_is_one),
            ("does not depend on the size of x", rms_ignores_size),
            ("equals w · x / √(mean(x²) + eps), row by row", rms_is_right),
        ),
        (
            (
                "the mean is subtracted first: that is a layer norm",
                lambda x, w, eps: w * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps),
            ),
            (
                "x is divided by its length instead of its root mean square",
                lambda x, w, eps: w * x / np.sqrt((x * x).sum(-1, keepdims=True) + eps),
            ),
            (
                "eps is added after the root instead of under it",
                lambda x, w, eps: w * x / (np.sqrt((x * x).mean(-1, keepdims=True)) + eps),
            ),
            ("eps is left out", lambda x, w, eps: w * x / np.sqrt((x * x).mean(-1, keepdims=True))),
            ("the weight w is left out", lambda x, w, eps: x / np.sqrt((x * x).mean(-1, keepdims=True) + eps)),
            (
                "one mean is taken over the whole array instead of one for each row",
                lambda x, w, eps: w * x / np.sqrt((x * x).mean() + eps),
            ),
            (
                "x is divided by its length: the mean, and not the sum, of the squares is wanted; eps is left out too",
                lambda x, w, eps: w * x / np.linalg.norm(x, axis=-1, keepdims=True),
            ),
            (
                "w is added instead of multiplied",
                lambda x, w, eps: w + x / np.sqrt((x * x).mean(-1, keepdims=True) + eps),
            ),
            (
                "eps is added to the result instead of under the root",
                lambda x, w, eps: w * x / np.sqrt((x * x).mean(-1, keepdims=True)) + eps,
            ),
            (
                "x is divided by its standard deviation, which subtracts the mean",
                lambda x, w, eps: w * x / np.std(x, axis=-1, keepdims=True),
            ),
            ("the root is left out", lambda x, w, eps: w * x / ((x * x).mean(-1, keepdims=True) + eps)),
            (
                "the mean is squared: the mean of the squares is wanted",
                lambda x, w, eps: w * x / np.sqrt(x.mean(-1, keepdims=True) ** 2 + eps),
            ),
            (
                "keepdims=True is left out, so the means stand beside the wrong rows",
                lambda x, w, eps: w * x / np.sqrt((x * x).mean(-1) + eps),
            ),
            (
                "the mean runs down the columns instead of along the rows",
                lambda x, w, eps: w * x / np.sqrt((x * x).mean(0, keepdims=True) + eps),
            ),
            (
                "the mean of |x| is taken instead of x²",
                lambda x, w, eps: w * x / np.sqrt(np.abs(x).mean(-1, keepdims=True) + eps),
            ),
            (
                "x is multiplied by the root instead of divided",
                lambda x, w, eps: w * x * np.sqrt((x * x).mean(-1, keepdims=True) + eps),
            ),
            (
                "x is divided by its largest element",
                lambda x, w, eps: w * x / np.max(np.abs(x), axis=-1, keepdims=True),
            ),
            (
                "w multiplies x before the mean of the squares is taken",
                lambda x, w, eps: w * x / np.sqrt(((w * x) ** 2).mean(-1, keepdims=True) + eps),
            ),
            *OTHER["4.1"],
        ),
        (
            "Root mean square, read backwards: square, then mean, then root. The mean of what: of each row, or of all?",
            "(x * x).mean(axis=-1, keepdims=True) has one number for each row; add eps to it under the root.",
            "return w * x / np.sqrt(... + eps), where ... is that mean",
        ),
    ),
    Exercise(
        "4.2",
        "causal_attention",
        "Attention that looks back only",
        "medium",
        20,
        attention_cases,
        (
            ("has the shape (T, hd)", attention_shape),
            ("the first token sees only itself", attention_first),
            ("no token looks into the future", attention_looks_back_only),
            ("the weights add up to 1", attention_averages),
            ("equals the softmax of the scaled scores, token by token", attention_is_right),
        ),
        (*ATTENTION, *OTHER["4.2"]),
        (
            "Scores first: how well does query i fit key j? Which pairs (i, j) may count? Only then apply the softmax.",
            "scores = q @ k.T / √hd, shape (T, T), row i for query i. np.tri(T) has a 1 where j <= i. Give the others a "
            "score so low that e^score is 0.",
            "scores = np.where(np.tri(T) > 0, scores, -1e30); subtract each row's maximum, np.exp, divide by each row's "
            "sum; then @ v",
        ),
    ),
    Exercise(
        "4.3",
        "count_parameters",
        "A transformer you can count",
        "medium",
        10,
        count_cases,
        (
            ("returns one number", count_one_number),
            ("a single layer, untied head", count_is_right(slice(0, 1))),
            ("grouped keys and values, tied head", count_is_right(slice(1, 2))),
            ("the lesson's model", count_is_right(slice(2, 3))),
            ("Llama 3 8B", count_is_right(slice(3, 4))),
            ("odd sizes", count_is_right(slice(4, None))),
        ),
        COUNT,
        (
            "Go through a block: q, k, v, o, gate, up, down, and two norms. Which of them are d wide, and which are narrower?",
            "A head is d / heads wide. q and o are (d, d); k and v are (kv_heads * d / heads, d); gate and up are (m, d), "
            "down is (d, m). Outside the blocks: the embedding (vocab, d), a norm (d), the head (vocab, d) unless tied.",
            "layers * (2*d*d + 2*d*kv + 3*d*m + 2*d) + d + vocab*d*(1 if tied else 2), with kv = kv_heads * (d // heads)",
        ),
    ),
)
