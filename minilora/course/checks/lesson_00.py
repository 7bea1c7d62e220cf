"""Lesson 0: the one equation."""

import numpy as np

from ..compare import as_array, same, same_shape, small
from ..judge import Exercise


def weight_cases():
    rng = np.random.default_rng(1)
    sizes = (  # out, in, r, alpha; the square ones last, since a guess by shape fits them all
        (1, 2, 1, 3.0), (1, 3, 2, 3.0), (2, 3, 1, 3.0), (4, 3, 2, 5.0), (3, 5, 4, 2.0), (2, 3, 3, -2.5),
        (3, 3, 2, 5.0), (2, 2, 2, 3.0),
    )  # fmt: skip
    return [(small(rng, out, n), small(rng, r, n), small(rng, out, r), alpha, r) for out, n, r, alpha in sizes]


def weight_shape(f, cases):
    for arguments in cases:
        got = as_array(f(*arguments), "the weight", arguments)
        same_shape(got, arguments[0].shape, "the weight", "(out, in), like W", arguments)


def zero_B_gives_W(f, cases):
    for W, A, B, alpha, r in cases:
        arguments = (W, A, np.zeros(B.shape), alpha, r)
        same(f(*arguments), W, "the weight for B = 0", arguments)


def linear_in_alpha(f, cases):
    for W, A, B, alpha, r in cases:
        arguments = (W, A, B, 3 * alpha, r)
        update = as_array(f(W, A, B, alpha, r), "the weight", arguments) - W
        same(
            as_array(f(*arguments), "the weight", arguments) - W,
            3 * update,
            "the update (your result minus W) for three times alpha",
            arguments,
        )


def weight_is_right(f, cases):
    for W, A, B, alpha, r in cases:
        update = sum(np.outer(B[:, i], A[i]) for i in range(r)) * alpha / r
        got = as_array(f(W, A, B, alpha, r), "the weight", (W, A, B, alpha, r)) - W
        same(
            got,
            update,
            "the update (your result minus W)",
            (W, A, B, alpha, r),
            factors={"alpha/r": alpha / r, "r": float(r), "alpha": alpha, "√r": r**0.5},
        )


EXERCISES = (
    Exercise(
        "0.1",
        "effective_weight",
        "One matrix for both",
        "easy",
        5,
        weight_cases,
        (
            ("has the shape of W", weight_shape),
            ("is W where B is zero", zero_B_gives_W),
            ("the update grows with alpha", linear_in_alpha),
            ("gives the y of W and the adapter together, for every x", weight_is_right),
        ),
        (
            ("the scale alpha / r is left out", lambda W, A, B, alpha, r: W + B @ A),
            ("the update is multiplied by alpha but not divided by r", lambda W, A, B, alpha, r: W + alpha * (B @ A)),
            ("the scale is inverted, r / alpha", lambda W, A, B, alpha, r: W + r / alpha * (B @ A)),
            ("alpha is divided by r in whole numbers, alpha // r", lambda W, A, B, alpha, r: W + alpha // r * (B @ A)),
            ("the update is divided by √r instead of r", lambda W, A, B, alpha, r: W + alpha / r**0.5 * (B @ A)),
            ("only the update is returned, without W", lambda W, A, B, alpha, r: alpha / r * (B @ A)),
            ("the update is subtracted", lambda W, A, B, alpha, r: W - alpha / r * (B @ A)),
            ("W is scaled too", lambda W, A, B, alpha, r: alpha / r * (W + B @ A)),
        ),
        (
            "x Wᵀ + s (x Aᵀ) Bᵀ = x (W + ?)ᵀ. What is the question mark?",
            "A is (r, in), B is (out, r): only one order of the two gives (out, in).",
            "return W + (alpha / r) * (the product of B and A, in the order that fits)",
        ),
    ),
)
