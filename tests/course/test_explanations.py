"""One number in every case tells by which term a count is wrong, or by which factor."""

import time

import numpy as np
import pytest

from minilora.course.explanations import explain
from minilora.course.judge import recognise
from minilora.course.runner import exercise


@pytest.mark.parametrize(
    ("number", "answer", "sentence"),
    [
        (
            "4.3",
            lambda V, d, m, n, h, kv, tied: (
                V * d * (2 - tied) + n * (2 * d * d + 2 * d * (d // h * kv) + 3 * d * m + 7 * d) + d
            ),
            "the result is too large by 5 · d · layers",
        ),
        (
            "8.2",
            lambda f, t, w: f * (w + 8) + 24 * t,
            "the result is too large by 8 · frozen and too large by 8 · trained",
        ),
        ("8.1", lambda s, r: sum(r * (o + i) + 3 * r for o, i in s), "too large by 3 · the number of shapes · r"),
        (
            "7.2",
            lambda a, r, new, rs: a * new**1.5 / r**0.5 if rs else a * new / r,
            "where it is wrong, the result is too large by the factor new_r",
        ),
    ],
)
def test_the_term_or_the_factor_that_is_wrong_is_told(number, answer, sentence):
    assert sentence in (recognise(exercise(number), answer) or "")


def test_a_result_that_no_short_sentence_explains_gets_none():
    assert recognise(exercise("8.2"), lambda f, t, w: (f * w + t * 16) % 97) is None


def test_an_explanation_of_many_arguments_takes_no_second():
    def strange(V, d, m, n, h, kv, tied):
        return V * d + n * m * 17 + d // 3 * 11 + h

    recognise(exercise("4.3"), strange)  # the mutants are made now
    start = time.process_time()
    recognise(exercise("4.3"), strange)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("factor", "sentence"),
    [
        (lambda r, alpha: r, "the result is too large by the factor r"),
        (lambda r, alpha: r + alpha, "a number that is another in each case"),
    ],
)
def test_arrays_that_are_right_but_for_a_number_tell_it(factor, sentence):
    cases = [(np.ones((2, 2)), r, alpha) for r, alpha in ((2, 3.0), (3, 5.0), (5, 2.0), (7, 4.0))]
    right = [np.array([[1.0, 2.0], [3.0, r]]) for _, r, _ in cases]
    got = [factor(r, alpha) * e for (_, r, alpha), e in zip(cases, right, strict=True)]
    assert sentence in explain(cases, ("W", "r", "alpha"), got, right)
