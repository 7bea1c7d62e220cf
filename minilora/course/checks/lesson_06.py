"""Lesson 6: LoRA's forward and its three gradients."""

import numpy as np

from ..compare import as_array, numeric_gradient, parts, same, same_shape, small
from ..judge import Exercise

SIZES = (  # N, in, out, r, alpha; the square ones last, since a guess by shape fits them all
    (1, 1, 2, 1, 3.0), (1, 3, 1, 2, 3.0), (2, 2, 3, 1, 3.0), (5, 3, 4, 2, 3.0), (3, 6, 5, 4, 2.0), (2, 4, 3, 3, -2.5),
    (4, 3, 3, 2, 5.0), (3, 3, 3, 2, 3.0), (2, 2, 2, 2, 3.0),
)  # fmt: skip


def forward(x, W, A, B, s):
    return x @ W.T + s * (x @ A.T) @ B.T


def factors(alpha, r):
    return {"alpha/r": alpha / r, "(alpha/r)²": (alpha / r) ** 2, "r": float(r), "alpha": alpha, "√r": r**0.5}


# ---- 6.1


def forward_cases():
    rng = np.random.default_rng(51)
    return [
        (small(rng, N, n), small(rng, out, n), small(rng, r, n), small(rng, out, r), alpha, r)
        for N, n, out, r, alpha in SIZES
    ]


def forward_shape(f, cases):
    for c in cases:
        same_shape(as_array(f(*c), "y", c), (len(c[0]), len(c[1])), "y", "(N, out)", c)


def zero_B_is_frozen_layer(f, cases):
    for x, W, A, B, alpha, r in cases:
        c = (x, W, A, np.zeros(B.shape), alpha, r)
        same(f(*c), x @ W.T, "y for B = 0", c)


def update_grows_with_alpha(f, cases):
    for x, W, A, B, alpha, r in cases:
        c = (x, W, A, B, 3 * alpha, r)
        once = as_array(f(x, W, A, B, alpha, r), "y", c) - x @ W.T
        same(as_array(f(*c), "y", c) - x @ W.T, 3 * once, "the adapter's part (y minus x Wᵀ) for three times alpha", c)


def forward_is_right(f, cases):
    for c in cases:
        x, W, A, B, alpha, r = c
        expected = [sum(alpha / r * (A[k] @ row) * B[:, k] for k in range(r)) for row in x]
        got = as_array(f(*c), "y", c) - x @ W.T
        same(got, expected, "the adapter's part (y minus x Wᵀ)", c, "(N, out)", factors(alpha, r))


# ---- 6.2


def gradient_cases():
    rng = np.random.default_rng(52)
    return [
        (small(rng, N, n), small(rng, N, out), small(rng, r, n), small(rng, out, r), alpha, r)
        for N, n, out, r, alpha in SIZES
    ]


def gradients(f, c):
    return parts(f(*c), ("dA", "dB"), c)


def gradient_shapes(f, cases):
    for c in cases:
        dA, dB = gradients(f, c)
        same_shape(as_array(dA, "dA", c), c[2].shape, "dA", "(r, in), like A", c)
        same_shape(as_array(dB, "dB", c), c[3].shape, "dB", "(out, r), like B", c)


def first_step(f, cases):
    for x, g, A, B, alpha, r in cases:
        c = (x, g, A, np.zeros(B.shape), alpha, r)
        same(gradients(f, c)[0], np.zeros(A.shape), "dA for B = 0 (as before the first step, when only B learns)", c)


def dB_is_right(f, cases):
    for c in cases:
        x, g, A, B, alpha, r = c
        numeric = numeric_gradient(lambda b: float((g * (alpha / r * (x @ A.T) @ b.T)).sum()), B)  # noqa: B023
        same(gradients(f, c)[1], numeric, "dB", c, "(out, r)", factors(alpha, r))


def dA_is_right(f, cases):
    for c in cases:
        x, g, A, B, alpha, r = c
        numeric = numeric_gradient(lambda a: float((g * (alpha / r * (x @ a.T) @ B.T)).sum()), A)  # noqa: B023
        same(gradients(f, c)[0], numeric, "dA", c, "(r, in)", factors(alpha, r))


def mistaken(scale_A=True, scale_B=True, mean=False, scale=lambda a, r: a / r):
    """The gradients with one thing changed: a scale left out or another, a mean over the rows."""

    def function(x, g, A, B, alpha, r):
        s, n = scale(alpha, r), len(x) if mean else 1
        return (s if scale_A else 1) * (g @ B).T @ x / n, (s if scale_B else 1) * g.T @ (x @ A.T) / n

    return function


# ---- 6.3


def input_cases():
    rng = np.random.default_rng(53)
    return [
        (small(rng, N, out), small(rng, out, n), small(rng, r, n), small(rng, out, r), alpha, r)
        for N, n, out, r, alpha in SIZES
    ]


def input_shape(f, cases):
    for c in cases:
        same_shape(as_array(f(*c), "dx", c), (len(c[0]), c[1].shape[1]), "dx", "(N, in)", c)


def zero_B_is_frozen_backward(f, cases):
    for g, W, A, B, alpha, r in cases:
        c = (g, W, A, np.zeros(B.shape), alpha, r)
        same(f(*c), g @ W, "dx for B = 0", c)


def input_is_right(f, cases):
    for c in cases:
        g, W, A, B, alpha, r = c
        x = np.zeros((len(g), W.shape[1]))
        numeric = numeric_gradient(lambda x: float((g * forward(x, W, A, B, alpha / r)).sum()), x)  # noqa: B023
        same(f(*c), numeric, "dx", c, "(N, in)", factors(alpha, r))


EXERCISES = (
    Exercise(
        "6.1",
        "lora_forward",
        "The forward",
        "easy",
        5,
        forward_cases,
        (
            ("has the shape (N, out)", forward_shape),
            ("is the frozen layer where B is zero", zero_B_is_frozen_layer),
            ("the adapter's part grows with alpha", update_grows_with_alpha),
            ("is the sum of the frozen part and the scaled part of the adapter", forward_is_right),
        ),
        (
            ("the scale alpha / r is left out", lambda x, W, A, B, alpha, r: forward(x, W, A, B, 1)),
            ("alpha is used without dividing by r", lambda x, W, A, B, alpha, r: forward(x, W, A, B, alpha)),
            ("the scale is inverted, r / alpha", lambda x, W, A, B, alpha, r: forward(x, W, A, B, r / alpha)),
            (
                "alpha is divided by r in whole numbers, alpha // r",
                lambda x, W, A, B, alpha, r: forward(x, W, A, B, alpha // r),
            ),
            (
                "alpha is divided by √r: that is the scale of rsLoRA",
                lambda x, W, A, B, alpha, r: forward(x, W, A, B, alpha / r**0.5),
            ),
            (
                "the frozen layer is missing: only the adapter's part is returned",
                lambda x, W, A, B, alpha, r: forward(x, 0 * W, A, B, alpha / r),
            ),
            (
                "the frozen layer's output is scaled too",
                lambda x, W, A, B, alpha, r: alpha / r * forward(x, W, A, B, 1),
            ),
            ("the scale is squared", lambda x, W, A, B, alpha, r: forward(x, W, A, B, (alpha / r) ** 2)),
            ("the root of the scale is taken", lambda x, W, A, B, alpha, r: forward(x, W, A, B, (alpha / r) ** 0.5)),
            (
                "the scale is multiplied, alpha times r, instead of divided",
                lambda x, W, A, B, alpha, r: forward(x, W, A, B, alpha * r),
            ),
            (
                "the adapter reads the output of W instead of x",
                lambda x, W, A, B, alpha, r: x @ W.T + alpha / r * (x @ W.T @ A.T) @ B.T,
            ),
            (
                "alpha is divided by the root of r in whole numbers",
                lambda x, W, A, B, alpha, r: forward(x, W, A, B, alpha / int(r**0.5)),
            ),
            ("the sign of alpha is lost", lambda x, W, A, B, alpha, r: forward(x, W, A, B, abs(alpha) / r)),
            (
                "the scale multiplies the frozen part instead of the adapter",
                lambda x, W, A, B, alpha, r: alpha / r * x @ W.T + x @ A.T @ B.T,
            ),
            ("the adapter's part is subtracted", lambda x, W, A, B, alpha, r: forward(x, W, A, B, -alpha / r)),
            ("the adapter is forgotten: only the frozen layer is computed", lambda x, W, A, B, alpha, r: x @ W.T),
            (
                "both parts are multiplied instead of added",
                lambda x, W, A, B, alpha, r: x @ W.T * (alpha / r * (x @ A.T) @ B.T),
            ),
            ("W is not transposed", lambda x, W, A, B, alpha, r: x @ W + alpha / r * (x @ A.T) @ B.T),
            (
                "the scale is added instead of multiplied",
                lambda x, W, A, B, alpha, r: x @ W.T + alpha / r + x @ A.T @ B.T,
            ),
        ),
        (
            "Two paths from x to y that are added: one through W, one through A and then B.",
            "x Aᵀ has the shape (N, r), (x Aᵀ) Bᵀ has (N, out). Where does the scale go?",
            "return x @ W.T + (alpha / r) * (the narrow path)",
        ),
    ),
    Exercise(
        "6.2",
        "lora_gradients",
        "The two gradients",
        "medium",
        20,
        gradient_cases,
        (
            ("returns dA and dB in the shapes of A and B", gradient_shapes),
            ("dA is zero where B is zero", first_step),
            ("dB equals central differences", dB_is_right),
            ("dA equals central differences", dA_is_right),
        ),
        (
            ("the scale alpha / r is missing in both gradients", mistaken(scale_A=False, scale_B=False)),
            ("the scale alpha / r is missing in dA", mistaken(scale_A=False)),
            ("the scale alpha / r is missing in dB", mistaken(scale_B=False)),
            ("alpha is used without dividing by r", mistaken(scale=lambda a, r: a)),
            ("the scale is inverted, r / alpha", mistaken(scale=lambda a, r: r / a)),
            ("alpha is divided by r in whole numbers, alpha // r", mistaken(scale=lambda a, r: a // r)),
            ("the scale is applied twice", mistaken(scale=lambda a, r: (a / r) ** 2)),
            ("the gradients are averaged over the N rows: the loss has already done that, in g", mistaken(mean=True)),
            ("dA and dB are returned in the other order", lambda *c: mistaken()(*c)[::-1]),
            (
                "both are transposed: a gradient has the shape of its matrix",
                lambda *c: tuple(d.T for d in mistaken()(*c)),
            ),
            (
                "A and B themselves are returned, scaled: their gradients need x and g",
                lambda x, g, A, B, alpha, r: (alpha / r * A, alpha / r * B),
            ),
            (
                "a step is made: the gradients are wanted, not the new A and B",
                lambda *c: tuple(w - d for w, d in zip(c[2:4], mistaken()(*c), strict=True)),
            ),
            (
                "only the signs of g are used in dB",
                lambda x, g, *c: (mistaken()(x, g, *c)[0], mistaken()(x, np.sign(g), *c)[1]),
            ),
            ("only the signs of g are used", lambda x, g, *c: mistaken()(x, np.sign(g), *c)),
            ("g is left out", lambda x, g, *c: mistaken()(x, np.ones_like(g), *c)),
            (
                "A is left out of dB: it is gᵀ x, not gᵀ (x Aᵀ)",
                lambda *c: (mistaken()(*c)[0], c[4] / c[5] * c[1].T @ c[0]),
            ),
            (
                "B is left out of dA",
                lambda x, g, A, B, alpha, r: (
                    alpha / r * (g @ np.ones_like(B)).T @ x,
                    mistaken()(x, g, A, B, alpha, r)[1],
                ),
            ),
            ("alpha is divided by √r: that is the scale of rsLoRA", mistaken(scale=lambda a, r: a / r**0.5)),
            ("the scale is divided by r twice", mistaken(scale=lambda a, r: a / r**2)),
            ("both gradients have the wrong sign", mistaken(scale=lambda a, r: -a / r)),
            ("both gradients are doubled", mistaken(scale=lambda a, r: 2 * a / r)),
            (
                "A and B are added to their gradients",
                lambda *c: tuple(d + w for d, w in zip(mistaken()(*c), c[2:4], strict=True)),
            ),
            (
                "g is left out of dA: x Aᵀ is used in its place",
                lambda x, g, A, B, alpha, r: (alpha / r * (x @ A.T).T @ x, mistaken()(x, g, A, B, alpha, r)[1]),
            ),
        ),
        (
            "Write y = x Wᵀ + s u Bᵀ with u = x Aᵀ. Then dB is the gradient of a product that you know from lesson 2, and "
            "so is the gradient of u.",
            "dB = s gᵀ u, shape (out, r). The gradient of u is s g B, shape (N, r); A turns x into u.",
            "u = x @ A.T; v = s * g @ B; return v.T @ x, ... and for dB: s times g transposed times u",
        ),
    ),
    Exercise(
        "6.3",
        "input_gradient",
        "What flows on to the layer below",
        "medium",
        10,
        input_cases,
        (
            ("has the shape (N, in)", input_shape),
            ("is g W where B is zero", zero_B_is_frozen_backward),
            ("equals central differences", input_is_right),
        ),
        (
            ("the path through the adapter is forgotten", lambda g, W, A, B, alpha, r: g @ W),
            (
                "the path through the frozen W is forgotten: W does not learn, but x still goes through it",
                lambda g, W, A, B, alpha, r: alpha / r * g @ B @ A,
            ),
            ("the scale alpha / r is left out", lambda g, W, A, B, alpha, r: g @ W + g @ B @ A),
            ("alpha is used without dividing by r", lambda g, W, A, B, alpha, r: g @ W + alpha * g @ B @ A),
            (
                "alpha is divided by r in whole numbers, alpha // r",
                lambda g, W, A, B, alpha, r: g @ W + alpha // r * g @ B @ A,
            ),
            ("the scale is inverted, r / alpha", lambda g, W, A, B, alpha, r: g @ W + r / alpha * g @ B @ A),
            (
                "the path through the frozen W is scaled too",
                lambda g, W, A, B, alpha, r: alpha / r * (g @ W + g @ B @ A),
            ),
            ("the merged weight is returned: g must go through it", lambda g, W, A, B, alpha, r: W + alpha / r * B @ A),
            (
                "the gradient is added up over the rows: every row of x has its own",
                lambda g, W, A, B, alpha, r: (g @ W + alpha / r * g @ B @ A).sum(axis=0),
            ),
            (
                "alpha is divided by √r: that is the scale of rsLoRA",
                lambda g, W, A, B, alpha, r: g @ W + alpha / r**0.5 * g @ B @ A,
            ),
            ("the path through the adapter is subtracted", lambda g, W, A, B, alpha, r: g @ W - alpha / r * g @ B @ A),
            ("the scale is applied twice", lambda g, W, A, B, alpha, r: g @ W + (alpha / r) ** 2 * g @ B @ A),
            (
                "W is transposed, as in the forward: backward g goes through W itself",
                lambda g, W, A, B, alpha, r: g @ W.T + alpha / r * g @ B @ A,
            ),
            (
                "the gradient is averaged over the rows: the loss has already done that, in g",
                lambda g, W, A, B, alpha, r: (g @ W + alpha / r * g @ B @ A) / len(g),
            ),
            ("g is left out", lambda g, W, A, B, alpha, r: np.ones_like(g) @ (W + alpha / r * B @ A)),
        ),
        (
            "x reaches y on two paths, so its gradient has two parts.",
            "The path through W gives g W. On the path through the adapter, g B has the shape (N, r), and A brings it to (N, in).",
            "return g @ W + (alpha / r) * (g through B, then through A)",
        ),
    ),
)
