"""Lesson 23: the gradient of several workers' rows, and the bytes of a sum in a ring."""

import numpy as np

from ..compare import as_array, same, same_shape, small
from ..judge import Exercise
from .mistakes_from_19 import OTHER

# workers, n, labels; square cases after the others
SIZES = (
    (1, 1, [3]),
    (2, 1, [1, 3]),
    (2, 3, [5, 2]),
    (3, 2, [4, 0, 1]),
    (4, 5, [7, 1, 2, 6]),
    (3, 3, [2, 5, 1]),
    (2, 2, [4, 4]),
)

# ---- 23.1


def gradient_cases():
    rng = np.random.default_rng(231)
    cases = []
    for workers, n, labels in SIZES:
        counts = np.array(labels)
        cases.append((small(rng, workers, n) * (counts > 0)[:, None], counts))
    return cases


def combined(gradients, labels):
    return (labels[:, None] * gradients).sum(axis=0) / labels.sum()


def gradient_shape(f, cases):
    for c in cases:
        same_shape(as_array(f(*c), "the gradient", c), c[0].shape[1:], "the gradient", "(n,)", c)


def equal_gradients_stay(f, cases):
    for gradients, labels in cases:
        one = gradients[np.argmax(labels)]
        c = (one * (labels > 0)[:, None], labels)
        same(f(*c), one, "the gradient where all workers with labels have the same one", c)


def more_labels_count_more(f, cases):
    for c in cases:
        factors = {"labels": float(c[1].sum()), "workers": float(len(c[1]))}
        same(f(*c), combined(*c), "the gradient", c, factors=factors)


# ---- 23.2


def ring_cases():
    return [(1, 5), (2, 2), (2, 10), (3, 12), (4, 4), (4, 400), (5, 35), (8, 74752)]


def ring(rounds=lambda w: 2 * (w - 1), piece=lambda w, n: n // w, each=4):
    return lambda workers, numbers: rounds(workers) * piece(workers, numbers) * each


def one_worker_sends_nothing(f, cases):
    c = cases[0]
    same(f(*c), 0, "the number of bytes of one worker alone", c)


def bytes_are_right(f, cases):
    for c in cases:
        same(f(*c), ring()(*c), "the number of bytes", c)


EXERCISES = (
    Exercise(
        "23.1",
        "combine",
        "One gradient of all workers",
        "medium",
        10,
        gradient_cases,
        (
            ("has the shape of one gradient", gradient_shape),
            ("equal gradients stay as they are", equal_gradients_stay),
            ("a worker with more labels counts more", more_labels_count_more),
        ),
        (
            (
                "the mean of the workers' means is taken: a label of a worker with few labels counts too much",
                lambda gradients, labels: gradients.mean(axis=0),
            ),
            (
                "the mean over the workers that have labels is taken; each must count by its labels",
                lambda gradients, labels: gradients.sum(axis=0) / (labels > 0).sum(),
            ),
            ("the gradients are added, without weights", lambda gradients, labels: gradients.sum(axis=0)),
            (
                "the weighted sum is not divided by all labels",
                lambda gradients, labels: (labels[:, None] * gradients).sum(axis=0),
            ),
            (
                "the weighted sum is divided by the number of workers",
                lambda gradients, labels: (labels[:, None] * gradients).mean(axis=0),
            ),
            (
                "the sum is divided by all labels, but each gradient is not multiplied by its own",
                lambda gradients, labels: gradients.sum(axis=0) / labels.sum(),
            ),
            (
                "the gradient of the worker with most labels is returned",
                lambda gradients, labels: gradients[np.argmax(labels)],
            ),
            *OTHER["23.1"],
        ),
        (
            "Undo each worker's mean first: what is the sum of the losses of its labels?",
            "labels[w] · gradients[w] is the gradient of a sum of losses. Sums can be added.",
            "the sum over w of labels[w] * gradients[w], divided once by all labels",
        ),
    ),
    Exercise(
        "23.2",
        "ring_bytes",
        "What a ring sends",
        "easy",
        10,
        ring_cases,
        (
            ("one worker alone sends nothing", one_worker_sends_nothing),
            ("counts pieces, rounds and bytes", bytes_are_right),
        ),
        (
            ("only the first half of the rounds is counted", ring(rounds=lambda w: w - 1)),
            ("each half has workers - 1 rounds, not workers", ring(rounds=lambda w: 2 * w)),
            ("one round too many is counted in all", ring(rounds=lambda w: 2 * w - 1)),
            (
                "a piece is a whole array, or the bytes of all workers are added: the result is too large by `workers`",
                ring(piece=lambda w, n: n),
            ),
            ("numbers are counted, not bytes: a float32 has 4", ring(each=1)),
            ("a float32 has 4 bytes, not 8", ring(each=8)),
            *OTHER["23.2"],
        ),
        (
            "How many rounds, how many numbers in each, how many bytes a number?",
            "A piece has numbers / workers numbers; there are two times workers - 1 rounds.",
            "2 * (workers - 1) * (a piece) * 4",
        ),
    ),
)
