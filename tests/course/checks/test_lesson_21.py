import numpy as np
from exercise_answers import Answers

from minilora import Tensor
from minilora.training import distillation

answers = Answers()


def shares(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@answers.wrong("21.1", says="T² is left out")
def no_square(z, t, T):
    p, q = shares(t / T), shares(z / T)
    return (p * np.log(p / q)).sum(axis=1).mean()


@answers.wrong("21.1", says="exchanged")
def other_way(z, t, T):
    p, q = shares(z / T), shares(t / T)
    return T * T * (p * np.log(p / q)).sum(axis=1).mean()


@answers.wrong("21.1", says="cross-entropy")
def soft_labels(z, t, T):
    return -T * T * (shares(t / T) * np.log(shares(z / T))).sum(axis=1).mean()


@answers.wrong("21.1", says="not finite")
def plain_exponentials(z, t, T):
    p, q = (np.exp(v / T) / np.exp(v / T).sum(axis=1, keepdims=True) for v in (t, z))
    return T * T * (p * np.log(p / q)).sum(axis=1).mean()


@answers.right("21.1")
def with_the_library(z, t, T):
    return distillation.divergence(z, t, T)


@answers.right("21.1")
def row_by_row(z, t, T):
    total = 0.0
    for a, b in zip(z / T, t / T, strict=True):
        log_q = a - np.logaddexp.reduce(a)
        log_p = b - np.logaddexp.reduce(b)
        total += np.exp(log_p) @ (log_p - log_q)
    return T**2 * total / len(z)


@answers.wrong("21.2", says="T remains")
def square(z, t, T):
    return T * T * (shares(z / T) - shares(t / T)) / len(z)


@answers.wrong("21.2", says="p - q")
def teacher_first(z, t, T):
    return T * (shares(t / T) - shares(z / T)) / len(z)


@answers.wrong("21.2", says="not divided by the n rows")
def summed(z, t, T):
    return T * (shares(z / T) - shares(t / T))


@answers.wrong("21.2", says="changes its first argument")
def in_place(z, t, T):
    z /= T
    return T * (shares(z) - shares(t / T)) / len(z)


@answers.right("21.2")
def by_the_tape(z, t, T):
    leaf = Tensor(z, requires_grad=True)
    distillation.divergence(leaf, t, T).backward()
    return leaf.grad


@answers.right("21.2")
def by_rows(z, t, T):
    return np.stack([T / len(z) * (shares(a[None] / T) - shares(b[None] / T))[0] for a, b in zip(z, t, strict=True)])


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
