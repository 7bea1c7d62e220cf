"""Lesson 21: the divergence of a student from its teacher, and its gradient."""

import numpy as np

from ..compare import Wrong, as_array, numeric_gradient, plain, same, same_shape, small
from ..judge import Exercise
from .mistakes_from_19 import OTHER

# n, V, T; square cases after the others
SIZES = ((1, 2, 1.0), (1, 2, 2.0), (2, 3, 1.0), (3, 2, 0.5), (4, 5, 3.0), (3, 3, 2.0), (2, 2, 4.0))


def cases():
    rng = np.random.default_rng(211)
    return [(small(rng, n, V), small(rng, n, V), T) for n, V, T in SIZES]


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def distance(
    outer=lambda T, n: T**2 / n,
    of_student=lambda z, T: softmax(z / T),
    of_teacher=lambda t, T: softmax(t / T),
    inner=lambda p, q: p * np.log(p / q),
):
    return lambda z, t, T: outer(T, len(z)) * inner(of_teacher(t, T), of_student(z, T)).sum()


def gradient(
    outer=lambda T, n: T / n,
    of_student=lambda z, T: softmax(z / T),
    of_teacher=lambda t, T: softmax(t / T),
):
    return lambda z, t, T: outer(T, len(z)) * (of_student(z, T) - of_teacher(t, T))


# ---- 21.1


def equal_is_zero(f, cases):
    for z, _, T in cases:
        c = (z, z + 3.0, T)
        same(f(*c), 0.0, "the divergence where all teacher's logits are 3 above the student's: p and q are equal", c)


def without_temperature(f, cases):
    for z, t, _ in cases:
        c = (z, t, 1.0)
        same(f(*c), distance()(*c), "the divergence for T = 1", c, factors={"n": float(len(z))})


def distance_is_right(f, cases):
    for c in cases:
        factors = {"T": c[2], "T²": c[2] ** 2, "n": float(len(c[0]))}
        same(f(*c), distance()(*c), "the divergence", c, factors=factors)


def large_logits(f, cases):
    c = (np.array([[1000.0, 0.0], [0.0, 1.0]]), np.array([[990.0, 0.0], [3.0, 1.0]]), 1.0)
    with np.errstate(all="ignore"):
        result = plain(f(*c))
    if not np.isfinite(np.asarray(result, float)).all():
        raise Wrong(
            "with logits up to 1,000 e^z or log p is not finite: subtract each row's largest logit, and "
            "take log p = z - log Σ e^z without dividing",
            c,
            "e^z overflows, or the log of a p of 0 is taken",
        )
    p, q = softmax(c[1])[1], softmax(c[0])[1]  # of the second row; the first adds nothing
    expected = (p * np.log(p / q)).sum() / 2
    same(result, expected, "the divergence, with logits up to 1,000", c)


# ---- 21.2


def gradient_shape(f, cases):
    for c in cases:
        same_shape(as_array(f(*c), "dz", c), c[0].shape, "dz", "(n, V)", c)


def rows_add_up_to_zero(f, cases):
    for c in cases:
        got = as_array(f(*c), "dz", c).sum(axis=1)
        what = "the sum of each row of dz (a row of q and one of p add up to 1 each)"
        same(got, np.zeros(len(c[0])), what, c, atol=1e-5)


def gradient_is_right(f, cases):
    for c in cases:
        z, t, T = c
        numeric = numeric_gradient(lambda z: float(distance()(z, t, T)), z)  # noqa: B023
        same(f(*c), numeric, "dz", c, "(n, V)", {"T": T, "T²": T**2, "n": float(len(z))})


EXERCISES = (
    Exercise(
        "21.1",
        "divergence",
        "How far from the teacher",
        "medium",
        15,
        cases,
        (
            ("is zero where both say the same", equal_is_zero),
            ("is right for T = 1", without_temperature),
            ("is right for any temperature", distance_is_right),
            ("holds for logits up to 1,000", large_logits),
        ),
        (
            ("T² is left out", distance(outer=lambda T, n: 1 / n)),
            ("it is multiplied by T, not by T²", distance(outer=lambda T, n: T / n)),
            ("it is divided by T²", distance(outer=lambda T, n: 1 / T**2 / n)),
            ("the rows are added, without dividing by n", distance(outer=lambda T, n: T**2)),
            ("teacher and student are exchanged", lambda z, t, T: distance()(t, z, T)),
            (
                "the logits are multiplied by T, not divided",
                distance(of_student=lambda z, T: softmax(z * T), of_teacher=lambda t, T: softmax(t * T)),
            ),
            ("only the teacher has the temperature", distance(of_student=lambda z, T: softmax(z))),
            ("only the student has the temperature", distance(of_teacher=lambda t, T: softmax(t))),
            (
                "neither has the temperature",
                distance(of_student=lambda z, T: softmax(z), of_teacher=lambda t, T: softmax(t)),
            ),
            (
                "the cross-entropy -Σ p log q is computed; Σ p log p belongs to it too, so that equal ones have 0",
                distance(inner=lambda p, q: -p * np.log(q)),
            ),
            ("the sign is turned: log(q / p)", distance(inner=lambda p, q: p * np.log(q / p))),
            ("log(p / q) is not weighted by p", distance(inner=lambda p, q: np.log(p / q))),
            ("the squared distance of p and q is computed", distance(inner=lambda p, q: (p - q) ** 2)),
            (
                "the mean is over all n · V numbers; the sum over V is meant",
                lambda z, t, T: distance()(z, t, T) / z.shape[1],
            ),
            *OTHER["21.1"],
        ),
        (
            "Two softmaxes first, each of logits over T. Then the sum over tokens, the mean over rows, and T².",
            "log p = t / T - log Σ e^(t / T), with each row's largest number subtracted first; log q likewise.",
            "T**2 * (p * (log_p - log_q)).sum() / n",
        ),
    ),
    Exercise(
        "21.2",
        "divergence_gradient",
        "The gradient of the divergence",
        "medium",
        15,
        cases,
        (
            ("has the shape of z", gradient_shape),
            ("has rows that add up to zero", rows_add_up_to_zero),
            ("equals central differences", gradient_is_right),
        ),
        (
            ("the factor is T², but one 1 / T is in z / T: T remains", gradient(outer=lambda T, n: T**2 / n)),
            ("the factor T is left out", gradient(outer=lambda T, n: 1 / n)),
            ("it is divided by T", gradient(outer=lambda T, n: 1 / T / n)),
            ("it is not divided by the n rows", gradient(outer=lambda T, n: T)),
            ("the sign is turned: p - q", gradient(outer=lambda T, n: -T / n)),
            ("only the teacher has the temperature", gradient(of_student=lambda z, T: softmax(z))),
            ("only the student has the temperature", gradient(of_teacher=lambda t, T: softmax(t))),
            (
                "neither has the temperature",
                gradient(of_student=lambda z, T: softmax(z), of_teacher=lambda t, T: softmax(t)),
            ),
            (
                "the logits themselves are subtracted",
                lambda z, t, T: T * ((z - z.mean(1, keepdims=True)) - (t - t.mean(1, keepdims=True))) / len(z),
            ),
            (
                "the teacher's likeliest token is taken as a label",
                gradient(of_teacher=lambda t, T: np.eye(t.shape[1])[t.argmax(axis=1)]),
            ),
            *OTHER["21.2"],
        ),
        (
            "Σ p log p does not depend on z. What remains is a cross-entropy with soft labels.",
            "For T = 1 and one row it is q - p, as for labels. Then: which factor does z / T bring, and which T²?",
            "T * (q - p) / n",
        ),
    ),
)
