"""Mistakes around a right answer: its result or an argument is changed, or one number explains all results."""

import numpy as np
import pytest

from minilora.course.judge import recognise
from minilora.course.outcomes import constant, outcomes
from minilora.course.runner import exercise


@pytest.mark.parametrize(
    ("number", "answer", "sentence"),
    [
        ("6.1", lambda x, W, A, B, alpha, r: np.cumsum(x @ (W + alpha / r * B @ A).T, axis=0), "added up cumulatively"),
        ("4.1", lambda x, w, eps: x - w * x / np.sqrt((x * x).mean(-1, keepdims=True) + eps), "subtracted from x"),
        ("8.2", lambda f, t, w: (f * w + t * 16) / 1024, "the result of every call is 0.0009766 times the right one"),
        ("8.2", lambda f, t, w: f * w + t * 16 + 100, "the result of every call is +100 away from the right one"),
        (
            "9.2",
            lambda s: (np.mean(s), 1.96 * np.std(s, ddof=1)),
            "the second result of every call is 1.96 times the right one",
        ),
        ("9.2", lambda s: (np.mean(s), max(s)), ""),
    ],
)
def test_a_mistake_around_a_right_answer_is_named(number, answer, sentence):
    assert sentence in (recognise(exercise(number), answer) or "")


def test_every_outcome_has_a_sentence_without_a_gap():
    for parts in (0, 2):
        for sentence, function in outcomes(lambda a, b: (a, b), ("a", "b"), parts):
            assert "{" not in sentence and callable(function)


def test_results_of_other_shapes_have_no_constant():
    assert constant([np.zeros(2)], [np.zeros(3)]) == ""
