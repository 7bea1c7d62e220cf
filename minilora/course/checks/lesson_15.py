"""Lesson 15: DoRA's forward, the gradient of its magnitude, and its merge."""

import numpy as np

from ..compare import as_array, numeric_gradient, same, same_shape, small
from ..judge import Exercise
from .mistakes_of_the_family import OTHER

# N, in, out, r, alpha; square cases after the others
SIZES = (
    (1, 2, 1, 1, 3.0),
    (2, 2, 3, 1, 3.0),
    (2, 3, 2, 2, 3.0),
    (4, 2, 5, 3, 2.0),
    (3, 4, 4, 2, 5.0),
    (3, 3, 3, 3, 2.0),
)


def norms(V):
    return np.sqrt((V * V).sum(axis=1))


def scaled(W, A, B, m, alpha, r):
    """What each misconception changes: -> V, its norms."""
    V = W + alpha / r * B @ A
    return V, norms(V)


def settings(rng, n, out, r, alpha):  # -> W, A, B, m, alpha, r
    W, A, B = small(rng, out, n), small(rng, r, n), small(rng, out, r)
    return W, A, B, np.abs(small(rng, out)), alpha, r


def factors(c):
    alpha, r = c[-2:]
    return {"alpha/r": alpha / r, "r": float(r), "alpha": alpha}


# ---- 15.1


def forward_cases():
    rng = np.random.default_rng(151)
    return [(small(rng, N, n), *settings(rng, n, out, r, alpha)) for N, n, out, r, alpha in SIZES]


def forward(x, W, A, B, m, alpha, r):
    V, n = scaled(W, A, B, m, alpha, r)
    return m / n * (x @ V.T)


def forward_shape(f, cases):
    for c in cases:
        same_shape(as_array(f(*c), "y", c), (len(c[0]), len(c[1])), "y", "(N, out)", c)


def starts_as_the_frozen_layer(f, cases):
    for x, W, A, B, _, alpha, r in cases:
        c = (x, W, A, np.zeros(B.shape), norms(W), alpha, r)
        same(f(*c), x @ W.T, "y for B = 0 and m = the lengths of the rows of W", c)


def grows_with_m(f, cases):
    for x, W, A, B, m, alpha, r in cases:
        c = (x, W, A, B, 2 * m, alpha, r)
        same(f(*c), 2 * as_array(f(x, W, A, B, m, alpha, r), "y", c), "y for twice m", c)


def forward_is_right(f, cases):
    for c in cases:
        x, W, A, B, m, alpha, r = c
        rows = [W[o] + alpha / r * sum(B[o, k] * A[k] for k in range(r)) for o in range(len(W))]
        expected = np.stack([m[o] * (x @ row) / np.sqrt(row @ row) for o, row in enumerate(rows)], axis=1)
        same(f(*c), expected, "y", c, "(N, out)", factors(c))


# ---- 15.2


def gradient_cases():
    rng = np.random.default_rng(152)
    return [(small(rng, N, n), small(rng, N, out), *settings(rng, n, out, r, alpha)) for N, n, out, r, alpha in SIZES]


def gradient(x, g, W, A, B, m, alpha, r):
    V, n = scaled(W, A, B, m, alpha, r)
    return (g * (x @ V.T)).sum(axis=0) / n


def gradient_shape(f, cases):
    for c in cases:
        same_shape(as_array(f(*c), "dm", c), c[5].shape, "dm", "(out,), like m", c)


def gradient_does_not_read_m(f, cases):
    for x, g, W, A, B, m, alpha, r in cases:
        c = (x, g, W, A, B, 3 * m, alpha, r)
        once = as_array(f(x, g, W, A, B, m, alpha, r), "dm", c)
        same(f(*c), once, "dm for three times m (y is m times something, so dm does not depend on m)", c)


def gradient_is_right(f, cases):
    for c in cases:
        x, g, W, A, B, m, alpha, r = c
        numeric = numeric_gradient(lambda m: float((g * forward(x, W, A, B, m, alpha, r)).sum()), m)  # noqa: B023
        same(f(*c), numeric, "dm", c, "(out,)", factors(c) | {"N": float(len(x))})


# ---- 15.3


def merge_cases():
    rng = np.random.default_rng(153)
    return [settings(rng, n, out, r, alpha) for _, n, out, r, alpha in SIZES]


def merge(W, A, B, m, alpha, r):
    V, n = scaled(W, A, B, m, alpha, r)
    return (m / n)[:, None] * V


def merge_shape(f, cases):
    for c in cases:
        same_shape(as_array(f(*c), "the merged matrix", c), c[0].shape, "the merged matrix", "(out, in)", c)


def merged_rows_have_the_length_m(f, cases):
    for c in cases:
        got = norms(as_array(f(*c), "the merged matrix", c))
        same(got, c[3], "the length of each merged row (expected: m)", c)


def merge_is_right(f, cases):
    for c in cases:
        same(f(*c), merge(*c), "the merged matrix", c, "(out, in)")


def changed(what, **change):
    """A misconception: forward, gradient or merge (`what`) with another V, norm or share."""
    build = change.get("V", lambda W, A, B, alpha, r: W + alpha / r * B @ A)
    norm = change.get("n", lambda V, W: norms(V))
    share = change.get("share", lambda m, n: m / n)

    def function(*c):
        *given, W, A, B, m, alpha, r = c
        V = build(W, A, B, alpha, r)
        n = norm(V, W)
        if what == "forward":
            return share(m, n) * (given[0] @ V.T)
        if what == "gradient":
            return (given[1] * (given[0] @ V.T)).sum(axis=0) / n
        return share(m, n)[:, None] * V

    return function


def common(what):
    """Mistakes that can be made in each of the three."""
    return (
        ("the scale alpha / r is left out", changed(what, V=lambda W, A, B, alpha, r: W + B @ A)),
        ("alpha is used without dividing by r", changed(what, V=lambda W, A, B, alpha, r: W + alpha * B @ A)),
        ("the scale is inverted, r / alpha", changed(what, V=lambda W, A, B, alpha, r: W + r / alpha * B @ A)),
        (
            "alpha is divided by r in whole numbers, alpha // r",
            changed(what, V=lambda W, A, B, alpha, r: W + alpha // r * B @ A),
        ),
        ("the length is that of W's rows; V = W + s B A is what is divided", changed(what, n=lambda V, W: norms(W))),
        ("the rows are divided by their squared length", changed(what, n=lambda V, W: (V * V).sum(axis=1))),
        (
            "one length of the whole matrix is used; each row has its own",
            changed(what, n=lambda V, W: np.sqrt((V * V).sum()) * np.ones(len(V))),
        ),
        (
            "the lengths of the columns are used: there is one for each input, and m has one for each output",
            changed(what, n=lambda V, W: np.sqrt((V * V).sum(axis=0))),
        ),
        (
            "the length is the sum of the absolute values",
            changed(what, n=lambda V, W: np.abs(V).sum(axis=1)),
        ),
    )


EXERCISES = (
    Exercise(
        "15.1",
        "dora_forward",
        "The forward of DoRA",
        "medium",
        10,
        forward_cases,
        (
            ("has the shape (N, out)", forward_shape),
            ("is the frozen layer at the start", starts_as_the_frozen_layer),
            ("grows with m", grows_with_m),
            ("equals x times the rows of V, each of length m", forward_is_right),
        ),
        (
            *common("forward"),
            ("the rows are not divided by their length", changed("forward", share=lambda m, n: m)),
            ("m is left out: every row has the length 1", changed("forward", share=lambda m, n: 1 / n)),
            ("the layer is LoRA's: neither length nor m is used", changed("forward", share=lambda m, n: 1.0)),
            ("length and m are exchanged", changed("forward", share=lambda m, n: n / m)),
            (
                "m is added to the output, not multiplied",
                lambda x, W, A, B, m, alpha, r: forward(x, W, A, B, np.ones(len(m)), alpha, r) + m,
            ),
            (
                "the new length acts on the frozen part alone; the update is added afterwards",
                lambda x, W, A, B, m, alpha, r: (
                    m / norms(W + alpha / r * B @ A) * (x @ W.T) + alpha / r * x @ A.T @ B.T
                ),
            ),
            (
                "the frozen W is missing in V",
                changed("forward", V=lambda W, A, B, alpha, r: alpha / r * B @ A),
            ),
            *OTHER["15.1"],
        ),
        (
            "First the matrix V that LoRA would have. Then the length of each of its rows.",
            "x Vᵀ has a column for each row of V: divide it by that row's length, multiply by its m.",
            "V = W + (alpha / r) * B @ A; return m / (length of each row of V) * (x @ V.T)",
        ),
    ),
    Exercise(
        "15.2",
        "magnitude_gradient",
        "The gradient of the magnitude",
        "medium",
        10,
        gradient_cases,
        (
            ("has the shape of m", gradient_shape),
            ("does not depend on m", gradient_does_not_read_m),
            ("equals central differences", gradient_is_right),
        ),
        (
            *common("gradient"),
            (
                "the lengths of the rows of V are not divided away",
                changed("gradient", n=lambda V, W: np.ones(len(V))),
            ),
            (
                "dm is multiplied by m: y is m times something, and dm is g times that something",
                lambda x, g, W, A, B, m, alpha, r: m * gradient(x, g, W, A, B, m, alpha, r),
            ),
            (
                "the rows of the batch are averaged; g has that mean in it already",
                lambda x, g, *c: gradient(x, g, *c) / len(x),
            ),
            (
                "the update is left out of V",
                changed("gradient", V=lambda W, A, B, alpha, r: W, n=lambda V, W: norms(W)),
            ),
            (
                "g and x Vᵀ are added up apart: each row of g belongs to its row of x",
                lambda x, g, *c: gradient(x.sum(axis=0)[None], g.sum(axis=0)[None], *c),
            ),
            (
                "g is left out",
                lambda x, g, *c: gradient(x, np.ones(g.shape), *c),
            ),
            (
                "the sum runs over the outputs; each output has its own m, so sum over the rows",
                lambda x, g, W, A, B, m, alpha, r: (
                    g * (x @ scaled(W, A, B, m, alpha, r)[0].T) / scaled(W, A, B, m, alpha, r)[1]
                ).sum(axis=1),
            ),
        ),
        (
            "In y, output o is m[o] times something that does not depend on m. What is the derivative of that?",
            "The something is x Vᵀ over the lengths, (N, out). Multiply by g, and sum over the N rows.",
            "return (g * (x @ V.T)).sum over the rows / (length of each row of V)",
        ),
    ),
    Exercise(
        "15.3",
        "dora_merge",
        "Merge DoRA",
        "easy",
        5,
        merge_cases,
        (
            ("has the shape of W", merge_shape),
            ("has rows of the length m", merged_rows_have_the_length_m),
            ("equals the rows of V, each of length m", merge_is_right),
        ),
        (
            *common("merge"),
            (
                "V is returned, as for LoRA: neither length nor m is used",
                changed("merge", share=lambda m, n: np.ones(len(n))),
            ),
            ("the rows are not divided by their length", changed("merge", share=lambda m, n: m)),
            ("m is left out: every row has the length 1", changed("merge", share=lambda m, n: 1 / n)),
            (
                "m multiplies the columns; it belongs to the rows",
                lambda W, A, B, m, alpha, r: merge(W, A, B, np.ones(len(m)), alpha, r) * m,
            ),
            (
                "the new length acts on W alone; the update is added afterwards",
                lambda W, A, B, m, alpha, r: (m / norms(W + alpha / r * B @ A))[:, None] * W + alpha / r * B @ A,
            ),
            *OTHER["15.3"],
        ),
        (
            "The layer is linear in x: which matrix turns x into y?",
            "Row o of V, divided by its length, times m[o].",
            "(m / lengths)[:, None] * V",
        ),
    ),
)
