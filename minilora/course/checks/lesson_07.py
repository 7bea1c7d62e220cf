"""Lesson 7: the scale."""

import numpy as np

from ..compare import Wrong, as_array, same
from ..judge import Exercise

# ---- 7.1


def scale_cases():
    return [(2.0, 1, False), (16.0, 4, False), (16.0, 4, True), (3.0, 9, True), (5.0, 8, False), (32.0, 16, True),
            (16.0, 8, True), (7.0, 3, False), (7.0, 3, True)]  # fmt: skip


def number(f, c):
    got = as_array(f(*c), "the result", c)
    if got.size != 1:
        raise Wrong(f"expected one number, got an array of shape {got.shape}", c, "several numbers in place of one")
    return got.reshape(())


def right(which, expected):
    def check(f, cases):
        for c in cases:
            if which(c):
                same(number(f, c), expected(*c), f"the result for {c}", c)

    return check


def scale(alpha, r, rank_stabilised):
    return alpha / (r**0.5 if rank_stabilised else r)


# ---- 7.2


def keep_cases():
    return [(4.0, 2, 4, False), (16.0, 8, 32, False), (16.0, 4, 16, True), (3.0, 9, 4, True), (10.0, 16, 8, False),
            (5.0, 8, 4, False), (5.0, 8, 3, False), (5.0, 8, 3, True), (3.0, 2, 6, True)]  # fmt: skip


def keep(alpha, r, new_r, rank_stabilised):
    return scale(alpha, r, rank_stabilised) / scale(1.0, new_r, rank_stabilised)


EXERCISES = (
    Exercise(
        "7.1",
        "scaling",
        "The scale, both ways",
        "easy",
        5,
        scale_cases,
        (
            ("rank 1: both ways are alpha", right(lambda c: c[1] == 1, scale)),
            ("alpha / r", right(lambda c: not c[2], scale)),
            ("alpha / √r, rank-stabilised", right(lambda c: c[2], scale)),
        ),
        (
            ("rank_stabilised is ignored", lambda alpha, r, rs: alpha / r),
            ("the two ways are swapped", lambda alpha, r, rs: scale(alpha, r, not rs)),
            (
                "alpha is divided by r in whole numbers, alpha // r",
                lambda alpha, r, rs: alpha / r**0.5 if rs else alpha // r,
            ),
            ("alpha is not divided at all", lambda alpha, r, rs: alpha),
            ("alpha is under the root too", lambda alpha, r, rs: (alpha / r) ** 0.5 if rs else alpha / r),
            ("the scale is inverted", lambda alpha, r, rs: 1 / scale(alpha, r, rs)),
            ("rsLoRA's root is taken of alpha instead of r", lambda alpha, r, rs: alpha**0.5 / r if rs else alpha / r),
            (
                "the cube root of r is taken instead of the square root",
                lambda alpha, r, rs: alpha / r ** (1 / 3) if rs else alpha / r,
            ),
            (
                "r ** 1 / 2 is the half of r: it needs r ** (1 / 2)",
                lambda alpha, r, rs: alpha / r**1 / 2 if rs else alpha / r,
            ),
            (
                "alpha / 2 * r divides by 2 and multiplies by r",
                lambda alpha, r, rs: alpha / r**0.5 if rs else alpha / 2 * r,
            ),
            (
                "the logarithm of r is taken instead of its root",
                lambda alpha, r, rs: alpha / np.log(r) if rs else alpha / r,
            ),
            ("both scales are added up", lambda alpha, r, rs: alpha / r**0.5 + alpha / r),
            ("both ways divide in whole numbers, with //", lambda alpha, r, rs: alpha // r**0.5 if rs else alpha // r),
            ("the root of r is cut to a whole number", lambda alpha, r, rs: alpha / int(r**0.5) if rs else alpha / r),
            ("r is squared instead of its root taken", lambda alpha, r, rs: alpha / r**2 if rs else alpha / r),
            ("both ways multiply by r instead of dividing", lambda alpha, r, rs: alpha * r**0.5 if rs else alpha * r),
            ("the root is always taken: rank_stabilised is ignored", lambda alpha, r, rs: alpha / r**0.5),
            ("both alpha and r are under the root, in both ways", lambda alpha, r, rs: (alpha / r) ** 0.5),
            ("rsLoRA's scale is divided by r once more", lambda alpha, r, rs: alpha / r**1.5 if rs else alpha / r),
            (
                "the root of r is multiplied instead of divided",
                lambda alpha, r, rs: alpha * r**0.5 if rs else alpha / r,
            ),
            ("small ranks are treated as a larger one", lambda alpha, r, rs: alpha / max(r, 8)),
        ),
        (
            "Two formulas, and a switch between them.",
            "LoRA: alpha / r. rsLoRA: alpha divided by the root of r.",
            "return alpha / r if not rank_stabilised else alpha / (the root of r, r ** 0.5)",
        ),
    ),
    Exercise(
        "7.2",
        "alpha_for_rank",
        "Another rank, the same scale",
        "medium",
        10,
        keep_cases,
        (("alpha / r", right(lambda c: not c[3], keep)), ("alpha / √r", right(lambda c: c[3], keep))),
        (
            ("alpha is not changed", lambda alpha, r, new_r, rs: alpha),
            ("the ratio of the ranks is inverted", lambda alpha, r, new_r, rs: keep(alpha, new_r, r, rs)),
            ("the scale itself is returned instead of alpha", lambda alpha, r, new_r, rs: scale(alpha, r, rs)),
            (
                "alpha is set to the new rank: that gives the scale 1, whatever it was before",
                lambda alpha, r, new_r, rs: new_r,
            ),
            ("the root of rsLoRA is forgotten", lambda alpha, r, new_r, rs: alpha * new_r / r),
            (
                "alpha * new_r is divided by r in whole numbers, with //",
                lambda alpha, r, new_r, rs: alpha * (new_r / r) ** 0.5 if rs else alpha * new_r // r,
            ),
            (
                "new_r // r is a whole number: it needs /",
                lambda alpha, r, new_r, rs: alpha * (new_r / r) ** 0.5 if rs else alpha * (new_r // r),
            ),
            (
                "the root is taken of new_r alone, and r has none",
                lambda alpha, r, new_r, rs: alpha * new_r**0.5 / r if rs else alpha * new_r / r,
            ),
            (
                "r is left out with rank_stabilised: the root of new_r alone is used",
                lambda alpha, r, new_r, rs: alpha * new_r**0.5 if rs else alpha * new_r / r,
            ),
            (
                "r is left out: alpha is multiplied by new_r",
                lambda alpha, r, new_r, rs: alpha * new_r**0.5 if rs else alpha * new_r,
            ),
            (
                "the difference of the ranks is added: the ratio of the ranks must be multiplied",
                lambda alpha, r, new_r, rs: alpha + new_r - r,
            ),
            (
                "the difference of the ranks is multiplied instead of their ratio",
                lambda alpha, r, new_r, rs: alpha * (new_r - r),
            ),
            (
                "alpha is set to twice the new rank, a habit that forgets the old scale",
                lambda alpha, r, new_r, rs: 2 * new_r,
            ),
            (
                "the scale of the new rank is returned instead of alpha",
                lambda alpha, r, new_r, rs: scale(alpha, new_r, rs),
            ),
            ("the root is used in both ways", lambda alpha, r, new_r, rs: alpha * (new_r / r) ** 0.5),
            ("the two ways are swapped", lambda alpha, r, new_r, rs: keep(alpha, r, new_r, not rs)),
            (
                "the ratio is squared with rank_stabilised instead of its root taken",
                lambda alpha, r, new_r, rs: alpha * (new_r / r) ** 2 if rs else alpha * new_r / r,
            ),
            (
                "only r has the root with rank_stabilised, new_r has none",
                lambda alpha, r, new_r, rs: alpha * new_r / r**0.5 if rs else alpha * new_r / r,
            ),
            (
                "alpha is under the root too",
                lambda alpha, r, new_r, rs: (alpha * new_r / r) ** 0.5 if rs else alpha * new_r / r,
            ),
            (
                "the cube root is taken instead of the square root",
                lambda alpha, r, new_r, rs: alpha * (new_r / r) ** (1 / 3) if rs else alpha * new_r / r,
            ),
            (
                "new_alpha is rounded to a whole number",
                lambda alpha, r, new_r, rs: keep(alpha, r, new_r, rs) if rs else round(alpha * new_r / r),
            ),
            ("alpha is added for every rank more", lambda alpha, r, new_r, rs: alpha + (new_r - r) * alpha),
        ),
        (
            "Which number must stay the same when the rank goes from r to new_r?",
            "alpha / r = new_alpha / new_r. Solve for new_alpha; then the same with the roots.",
            "new_alpha = alpha * new_r / r; with rank_stabilised, alpha times the root of (new_r / r)",
        ),
    ),
)
