"""Lesson 19: the rule called linear, and TIES."""

import numpy as np

from ..compare import as_array, same, same_shape, small
from ..judge import Exercise
from .mistakes_from_19 import OTHER

# out, in, r, w1, w2; square cases after the others
SIZES = (
    (1, 2, 1, 1.0, 1.0),
    (2, 1, 1, 4.0, 0.25),
    (2, 3, 1, 0.5, 2.0),
    (3, 2, 2, -2.0, 0.5),
    (4, 5, 3, -0.3, -3.0),
    (3, 3, 2, 0.7, -1.5),
    (2, 2, 2, 3.0, 0.2),
)

# ---- 19.1


def linear_cases():
    rng = np.random.default_rng(191)
    cases = []
    for out, n, r, w1, w2 in SIZES:
        cases.append((small(rng, r, n), small(rng, out, r), small(rng, r, n), small(rng, out, r), w1, w2))
    return cases


def root(w):
    return np.sqrt(abs(w))


def signed(w):
    return np.sign(w) * np.sqrt(abs(w))


def linear(of_A=signed, of_B=root, times=lambda A, B: B @ A):
    def function(A1, B1, A2, B2, w1, w2):
        return times(of_A(w1) * A1 + of_A(w2) * A2, of_B(w1) * B1 + of_B(w2) * B2)

    return function


def linear_shape(f, cases):
    for c in cases:
        same_shape(as_array(f(*c), "the update", c), (len(c[1]), c[0].shape[1]), "the update", "(out, in)", c)


def one_alone_keeps_its_update(f, cases):
    for A1, B1, A2, B2, w1, w2 in cases:
        c = (A1, B1, np.zeros(A2.shape), np.zeros(B2.shape), w1, w2)
        same(f(*c), w1 * B1 @ A1, "the update where the second adapter is all zeros (w1 B1 A1)", c)


def order_does_not_matter(f, cases):
    for A1, B1, A2, B2, w1, w2 in cases:
        c = (A2, B2, A1, B1, w2, w1)
        once = as_array(f(A1, B1, A2, B2, w1, w2), "the update", c)
        same(f(*c), once, "the update of the two in the other order", c)


def linear_is_right(f, cases):
    for c in cases:
        same(f(*c), linear()(*c), "the update", c, "(out, in)")


# ---- 19.2


def ties_cases():
    rng = np.random.default_rng(192)

    def different(T, n):  # no two numbers of a row have one size, and no sum is zero
        sizes = np.stack([rng.permutation(np.arange(1, n + 1)) for _ in range(T)]) / 10
        return (sizes * (1 + np.arange(T)[:, None]) + 0.013 * np.arange(T)[:, None]) * rng.choice([-1.0, 1.0], (T, n))

    return [
        (np.array([[0.5, -0.2], [0.3, 0.4]]), 1.0),
        (np.array([[0.5, -0.2, 0.1], [-0.1, 0.6, 0.3]]), 1.0),
        (different(2, 4), 0.5),
        (different(3, 5), 1.0),
        (different(3, 7), 0.5),
        (different(2, 6), 0.34),
        (different(3, 3), 0.67),
        (different(5, 8), 0.25),
        (different(2, 3), 0.0),
        (different(2, 9), 0.18),
    ]


def trimmed(updates, density, count=lambda density, n: int(density * n), key=abs):
    stay = count(density, updates.shape[1])
    places = np.argsort(-key(updates), axis=1, kind="stable")[:, :stay]
    result = np.zeros(updates.shape)
    np.put_along_axis(result, places, np.take_along_axis(updates, places, axis=1), axis=1)
    return result


def ties(
    trim=trimmed,
    elect=lambda kept, updates: np.sign(kept.sum(axis=0)),
    over=lambda agree, kept: np.maximum(agree.sum(axis=0), 1),
    agreeing=lambda kept, sign: (np.sign(kept) == sign) & (kept != 0),
):
    """TIES with one thing changed."""

    def function(updates, density):
        kept = trim(updates, density)
        agree = agreeing(kept, elect(kept, updates))
        return (kept * agree).sum(axis=0) / over(agree, kept)

    return function


def ties_shape(f, cases):
    for c in cases:
        same_shape(as_array(f(*c), "the result", c), c[0].shape[1:], "the result", "(n,)", c)


def one_update_is_only_trimmed(f, cases):
    for updates, density in cases:
        c = (updates[:1], density)
        same(f(*c), trimmed(*c)[0], "the result for one update alone (it is only trimmed)", c)


def without_trimming(f, cases):
    for updates, _ in cases:
        c = (updates, 1.0)
        same(f(*c), ties()(*c), "the result for density 1 (nothing is trimmed)", c)


def ties_is_right(f, cases):
    for c in cases:
        same(f(*c), ties()(*c), "the result", c)


EXERCISES = (
    Exercise(
        "19.1",
        "linear_update",
        "The rule called linear",
        "easy",
        10,
        linear_cases,
        (
            ("has the shape (out, in)", linear_shape),
            ("one adapter alone keeps its update", one_alone_keeps_its_update),
            ("the order does not matter", order_does_not_matter),
            ("adds As and Bs apart, then multiplies", linear_is_right),
        ),
        (
            (
                "the exact sum of the updates is computed; linear adds As and Bs apart",
                lambda A1, B1, A2, B2, w1, w2: w1 * B1 @ A1 + w2 * B2 @ A2,
            ),
            ("the weights are used without their roots, so they count twice", linear(of_A=lambda w: w, of_B=abs)),
            ("both roots have the sign, so that it is lost in the product", linear(of_B=signed)),
            ("the sign of a negative weight is left out", linear(of_A=root)),
            ("the sign is given to B; it belongs to A alone", linear(of_A=root, of_B=signed)),
            ("the whole weight is given to A, none of it to B", linear(of_A=lambda w: w, of_B=lambda w: 1.0)),
            ("the whole weight is given to B, none of it to A", linear(of_A=lambda w: 1.0, of_B=lambda w: w)),
            ("the weights are left out", linear(of_A=lambda w: 1.0, of_B=lambda w: 1.0)),
            *OTHER["19.1"],
        ),
        (
            "Two sums first, one of the As and one of the Bs. The product is last.",
            "A1 is multiplied by ±√|w1|, with the sign of w1; B1 by √|w1|.",
            "B = √|w1| B1 + √|w2| B2; A = sign(w1) √|w1| A1 + ...; return B @ A",
        ),
    ),
    Exercise(
        "19.2",
        "ties_update",
        "TIES",
        "hard",
        25,
        ties_cases,
        (
            ("has a number for each place", ties_shape),
            ("one update alone is only trimmed", one_update_is_only_trimmed),
            ("without trimming, averages what agrees", without_trimming),
            ("trims, elects and averages", ties_is_right),
        ),
        (
            ("nothing is trimmed", ties(trim=lambda updates, density: updates)),
            (
                "the numbers of largest value stay, not of largest size: negative ones are always trimmed",
                ties(trim=lambda updates, density: trimmed(updates, density, key=lambda u: u)),
            ),
            (
                "the numbers of smallest size stay",
                ties(trim=lambda updates, density: trimmed(updates, density, key=lambda u: -abs(u))),
            ),
            (
                "one number too many stays: int(density · n) cuts the digits after the point off",
                ties(trim=lambda updates, density: trimmed(updates, density, count=lambda d, n: int(np.ceil(d * n)))),
            ),
            (
                "density · n is rounded to the nearest: int cuts the digits after the point off",
                ties(trim=lambda updates, density: trimmed(updates, density, count=lambda d, n: round(d * n))),
            ),
            (
                "where no number is left 0 is divided by 0, which is nan",
                ties(over=lambda agree, kept: agree.sum(axis=0)),
            ),
            (
                "density is taken as the share that is trimmed",
                ties(trim=lambda updates, density: trimmed(updates, 1 - density)),
            ),
            (
                "all updates are trimmed together; each keeps its own largest numbers",
                ties(trim=lambda updates, density: trimmed(updates.reshape(1, -1), density).reshape(updates.shape)),
            ),
            (
                "the vote counts heads, not sizes: the sign of the sum is meant",
                ties(elect=lambda kept, updates: np.sign(np.sign(kept).sum(axis=0))),
            ),
            (
                "the signs are elected before trimming",
                ties(elect=lambda kept, updates: np.sign(updates.sum(axis=0))),
            ),
            (
                "no sign is elected: all trimmed numbers are averaged",
                ties(agreeing=lambda kept, sign: kept != 0),
            ),
            (
                "the sum is divided by the number of updates, not of those that agree",
                ties(over=lambda agree, kept: len(kept)),
            ),
            (
                "the sum is divided by all that were not trimmed, not by those that agree",
                ties(over=lambda agree, kept: np.maximum((kept != 0).sum(axis=0), 1)),
            ),
            ("what agrees is added, not averaged", ties(over=lambda agree, kept: 1)),
            (
                "the numbers that do not agree are averaged",
                ties(agreeing=lambda kept, sign: (np.sign(kept) == -sign) & (kept != 0)),
            ),
            *OTHER["19.2"],
        ),
        (
            "Three steps, one after the other: an array of trimmed rows, an array of signs, an array of means.",
            "For the mean you need two sums: of the numbers that agree, and of how many they are (at least 1).",
            "agree = (np.sign(trimmed) == elected) & (trimmed != 0); sum of trimmed * agree over max(count, 1)",
        ),
    ),
)
