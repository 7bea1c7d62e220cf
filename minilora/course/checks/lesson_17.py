"""Lesson 17: starts from a singular value decomposition and from a QR decomposition, and LoRA+'s two rates."""

import numpy as np

from ..compare import as_array, parts, same, same_shape, small
from ..judge import Exercise
from .mistakes_of_the_family import OTHER

# out, in, r, alpha; square cases after the others
SIZES = ((2, 1, 1, 2.0), (1, 3, 1, 0.5), (3, 2, 1, 3.0), (4, 5, 2, 3.0), (6, 4, 3, 2.0), (4, 4, 2, 5.0), (3, 3, 3, 2.0))


def start_cases():
    rng = np.random.default_rng(171)
    return [(small(rng, out, n), r, alpha) for out, n, r, alpha in SIZES]


def start_parts(f, c):
    A0, B0, rest = parts(f(*c), ("A0", "B0", "rest"), c)
    return as_array(A0, "A0", c), as_array(B0, "B0", c), as_array(rest, "rest", c)


def start_shapes(f, cases):
    for c in cases:
        W, r, _ = c
        A0, B0, rest = start_parts(f, c)
        same_shape(A0, (r, W.shape[1]), "A0", "(r, in)", c)
        same_shape(B0, (len(W), r), "B0", "(out, r)", c)
        same_shape(rest, W.shape, "rest", "(out, in), like W", c)


def function_is_unchanged(f, cases):
    for c in cases:
        W, r, alpha = c
        A0, B0, rest = start_parts(f, c)
        same(rest + alpha / r * B0 @ A0, W, "rest + (alpha / r) B0 A0", c)


# ---- 17.1


def best(W, r):
    U, S, Vt = np.linalg.svd(W, full_matrices=False)
    return U[:, :r], S[:r], Vt[:r]


def is_the_best_part(f, cases):
    for c in cases:
        W, r, alpha = c
        A0, B0, _ = start_parts(f, c)
        U, S, Vt = best(W, r)
        factors = {"s": alpha / r, "s²": (alpha / r) ** 2, "r": float(r), "alpha": alpha}
        same(alpha / r * B0 @ A0, (U * S) @ Vt, "(alpha / r) B0 A0, the best part of rank r,", c, factors=factors)


def is_shared_equally(f, cases):
    for c in cases:
        W, r, alpha = c
        A0, B0, _ = start_parts(f, c)
        expected = np.sqrt(best(W, r)[1] / (alpha / r))
        same(np.linalg.norm(A0, axis=1), expected, "the array of the lengths of A0's rows", c)
        same(np.linalg.norm(B0, axis=0), expected, "the array of the lengths of B0's columns", c)


def pissa(
    scale=lambda alpha, r: alpha / r,
    roots=lambda S, s: (np.sqrt(S / s), np.sqrt(S / s)),
    rest=lambda W, s, BA: W - s * BA,
    first=lambda U, S, Vt, r: (U[:, :r], S[:r], Vt[:r]),
):
    """PiSSA's start with one thing changed."""

    def function(W, r, alpha):
        U, S, Vt = first(*np.linalg.svd(W, full_matrices=False), r)
        s = scale(alpha, r)
        of_A, of_B = roots(S, s)
        A0, B0 = of_A[:, None] * Vt, U * of_B
        return A0, B0, rest(W, s, B0 @ A0)

    return function


# ---- 17.2


def B0_is_at_right_angles(f, cases):
    for c in cases:
        B0 = start_parts(f, c)[1]
        same(B0.T @ B0, np.eye(c[1]), "B0ᵀ B0 (columns of length 1, at right angles)", c)


def first_columns_are_those_of_W(f, cases):
    for c in cases:
        W, r, _ = c
        A0, B0, _ = start_parts(f, c)
        same((B0 @ A0)[:, :r], W[:, :r], "the first r columns of B0 A0 (those of W)", c)


def A0_is_of_R(f, cases):
    for c in cases:
        W, r, _ = c
        A0, B0, _ = start_parts(f, c)
        same(A0, B0.T @ W, "A0 (the first r rows of R, which are B0ᵀ W)", c, "(r, in)")


def olora(
    rest=lambda W, s, BA: W - s * BA,
    of=lambda Q, R, r: (R[:r], Q[:, :r]),
    times=lambda A0, B0, s: (A0, B0),
):
    """OLoRA's start with one thing changed."""

    def function(W, r, alpha):
        A0, B0 = of(*np.linalg.qr(W), r)
        A0, B0 = times(A0, B0, alpha / r)
        return A0, B0, rest(W, alpha / r, B0 @ A0)

    return function


# ---- 17.3


def rate_cases():
    q, k = "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.B_proj"
    trap, other = "lora_B_model.layers.2.down_proj", "lora_A_model.layers.3.up_proj"
    return [
        ([f"{q}.lora_A.default.weight"], 0.5, 4.0),
        ([f"{q}.lora_B.default.weight"], 0.5, 4.0),
        ([f"{q}.lora_A.B.weight", f"{q}.lora_B.B.weight"], 0.25, 16.0),
        ([f"{k}.lora_B.default.weight", f"{k}.lora_A.default.weight"], 0.1, 8.0),
        ([f"{trap}.lora_A.default.weight", f"{trap}.lora_B.default.weight", f"{q}.lora_A.default.weight"], 2.0, 3.0),
        ([f"{other}.lora_A.default.weight", f"{other}.lora_B.default.weight"], 0.2, 5.0),
    ]


def rates(of_A=lambda lr, ratio: lr, of_B=lambda lr, ratio: lr * ratio, is_B=lambda name: ".lora_B." in name):
    def function(names, lr, ratio):
        return [of_B(lr, ratio) if is_B(name) else of_A(lr, ratio) for name in names]

    return function


def one_for_each(f, cases):
    for c in cases:
        same_shape(as_array(f(*c), "the list of rates", c), (len(c[0]),), "the list of rates", "one for each name", c)


def rates_are_right(f, cases):
    for c in cases:
        same(f(*c), rates()(*c), "the list of rates", c, factors={"ratio": c[2]})


STARTS = (
    ("returns A0, B0 and the rest in their shapes", start_shapes),
    ("leaves the function unchanged: rest + s B0 A0 is W", function_is_unchanged),
)

EXERCISES = (
    Exercise(
        "17.1",
        "pissa_start",
        "PiSSA's start",
        "medium",
        15,
        start_cases,
        (
            *STARTS,
            ("s B0 A0 is the best part of rank r", is_the_best_part),
            ("rows of A0 and columns of B0 have the same lengths", is_shared_equally),
        ),
        (
            ("A0 and B0 have the whole singular values; each has their root", pissa(roots=lambda S, s: (S, S))),
            ("s is left out everywhere, as if it were 1", pissa(scale=lambda alpha, r: 1.0)),
            (
                "W itself is kept as the rest: the layer would start with s B0 A0 too much",
                pissa(rest=lambda W, s, BA: W),
            ),
            (
                "s is left out of the rest: what is taken out of W is s B0 A0",
                pissa(rest=lambda W, s, BA: W - BA),
            ),
            (
                "the singular values are not divided by s: s B0 A0 is then s times the best part",
                pissa(roots=lambda S, s: (np.sqrt(S), np.sqrt(S))),
            ),
            (
                "the singular values are multiplied by s",
                pissa(roots=lambda S, s: (np.sqrt(S * s), np.sqrt(S * s))),
            ),
            (
                "s is divided by after the root; √(S / s) has it inside",
                pissa(roots=lambda S, s: (np.sqrt(S) / s, np.sqrt(S) / s)),
            ),
            (
                "the singular values are all in B0; each is shared by its root",
                pissa(roots=lambda S, s: (np.ones(len(S)), S / s)),
            ),
            (
                "the singular values are all in A0; each is shared by its root",
                pissa(roots=lambda S, s: (S / s, np.ones(len(S)))),
            ),
            (
                "the whole singular value is in A0 and in B0; each gets its root",
                pissa(roots=lambda S, s: (S / s, S / s)),
            ),
            ("the singular values are left out", pissa(roots=lambda S, s: (np.ones(len(S)), np.ones(len(S))))),
            (
                "the smallest singular values are taken, not the largest",
                pissa(first=lambda U, S, Vt, r: (U[:, -r:], S[-r:], Vt[-r:])),
            ),
            ("alpha is used without dividing by r", pissa(scale=lambda alpha, r: alpha)),
            ("the best part is added to W, not taken out", pissa(rest=lambda W, s, BA: W + s * BA)),
            ("A0 and B0 are returned in the other order", lambda *c: (pissa()(*c)[1], pissa()(*c)[0], pissa()(*c)[2])),
        ),
        (
            "np.linalg.svd gives U, S, Vt with W = U diag(S) Vt. Which parts belong to the r largest?",
            "s B0 A0 must be U_r diag(S_r) Vt_r. Give the root of S_r / s to each side.",
            "root = np.sqrt(S[:r] / s); A0 = root times the rows of Vt[:r]; B0 = U[:, :r] times root; rest = W - s * B0 @ A0",
        ),
    ),
    Exercise(
        "17.2",
        "olora_start",
        "OLoRA's start",
        "medium",
        10,
        start_cases,
        (
            *STARTS,
            ("the columns of B0 have length 1 and are at right angles", B0_is_at_right_angles),
            ("the first r columns of B0 A0 are those of W", first_columns_are_those_of_W),
            ("A0 is the first r rows of R", A0_is_of_R),
        ),
        (
            (
                "W itself is kept as the rest: the layer would start with s B0 A0 too much",
                olora(rest=lambda W, s, BA: W),
            ),
            ("s is left out of the rest: what is taken out of W is s B0 A0", olora(rest=lambda W, s, BA: W - BA)),
            ("A0 is divided by s, which OLoRA does not do", olora(times=lambda A0, B0, s: (A0 / s, B0))),
            ("B0 is divided by s, so its columns do not have length 1", olora(times=lambda A0, B0, s: (A0, B0 / s))),
            (
                "the last columns of Q and rows of R are taken, not the first",
                olora(of=lambda Q, R, r: (R[-r:], Q[:, -r:])),
            ),
            ("B0 A0 is added to W, not taken out", olora(rest=lambda W, s, BA: W + s * BA)),
            (
                "PiSSA's start is computed, from singular values",
                pissa(),
            ),
            ("A0 and B0 are returned in the other order", lambda *c: (olora()(*c)[1], olora()(*c)[0], olora()(*c)[2])),
            *OTHER["17.2"],
        ),
        (
            "np.linalg.qr gives Q and R. Which of them has `out` rows, and which has `in` columns?",
            "Q is (out, k), R is (k, in): B0 is cut from Q, A0 from R. s is in the rest alone.",
            "A0, B0 = R[:r], Q[:, :r]; rest = W - alpha / r * B0 @ A0",
        ),
    ),
    Exercise(
        "17.3",
        "two_rates",
        "Two rates",
        "easy",
        5,
        rate_cases,
        (
            ("returns a rate for each name", one_for_each),
            ("B has ratio times the rate of A", rates_are_right),
        ),
        (
            ("A has the higher rate; it is B", rates(of_A=lambda lr, ratio: lr * ratio, of_B=lambda lr, ratio: lr)),
            ("B has the rate divided by ratio", rates(of_B=lambda lr, ratio: lr / ratio)),
            ("the rate of A is divided by ratio too", rates(of_A=lambda lr, ratio: lr / ratio)),
            ("B has ratio as its rate, without lr", rates(of_B=lambda lr, ratio: ratio)),
            ("all have the same rate", rates(of_B=lambda lr, ratio: lr)),
            ("a B anywhere in the name counts; look for .lora_B.", rates(is_B=lambda name: "B" in name)),
            (
                "lora_B anywhere in the name counts; a module may be called so: look for .lora_B. with its dots",
                rates(is_B=lambda name: "lora_B" in name),
            ),
            (
                "lora_A anywhere in the name counts as an A; a module may be called so: look for .lora_A. with its dots",
                rates(is_B=lambda name: "lora_A" not in name),
            ),
            *OTHER["17.3"],
        ),
        (
            "A name says whether it is an A or a B. Where in the name?",
            "The matrix is a part of its own between two dots, .lora_A. or .lora_B.",
            '[lr * ratio if ".lora_B." in name else lr for each name]',
        ),
    ),
)
