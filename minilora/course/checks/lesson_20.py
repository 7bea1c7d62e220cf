"""Lesson 20: which tokens of a conversation are learned."""

import numpy as np

from ..compare import as_array, parts, same, same_shape
from ..judge import Exercise
from .mistakes_from_19 import OTHER


def conversations():
    return [
        ([(False, [5, 6]), (True, [7])], 1),
        ([(False, [4]), (True, [8, 9, 3])], 2),
        ([(False, [11, 12, 13]), (True, [14]), (False, [15, 16]), (True, [17, 18])], 0),
        ([(True, [5, 4]), (False, [3])], 9),
        ([(False, [3, 4]), (False, [6]), (True, [7, 8])], 5),
        ([(False, [2, 2]), (True, [2, 2]), (True, [3])], 2),
    ]


def labelled(
    ending=lambda is_answer, last: is_answer, end_label=lambda end: end, prompt_label=lambda v: -100, answer=lambda v: v
):
    """The ids and labels with one thing changed."""

    def function(parts, end):
        ids, labels = [], []
        for place, (is_answer, tokens) in enumerate(parts):
            ids += tokens
            labels += [answer(v) if is_answer else prompt_label(v) for v in tokens]
            if ending(is_answer, place == len(parts) - 1):
                ids.append(end)
                labels.append(end_label(end))
        return np.array(ids), np.array(labels)

    return function


def both(f, c):
    return parts(f(*c), ("ids", "labels"), c)


def ids_are_right(f, cases):
    for c in cases:
        ids = as_array(both(f, c)[0], "ids", c)
        expected = labelled()(*c)[0]
        same_shape(ids, expected.shape, "ids", "one for each token, and an end after each answer", c)
        same(ids, expected, "ids", c)


def prompts_are_left_out(f, cases):
    for c in cases:
        labels = as_array(both(f, c)[1], "labels", c)
        expected = labelled()(*c)[1]
        same_shape(labels, expected.shape, "labels", "as long as ids", c)
        same(labels[expected == -100], expected[expected == -100], "the labels of what is no answer", c)


def answers_are_learned(f, cases):
    for c in cases:
        same(both(f, c)[1], labelled()(*c)[1], "labels", c)


def shifted(parts, end):
    ids, labels = labelled()(parts, end)
    return ids, np.append(labels[1:], -100)


EXERCISES = (
    Exercise(
        "20.1",
        "label_answers",
        "Learn the answers only",
        "medium",
        20,
        conversations,
        (
            ("joins the tokens, with an end after each answer", ids_are_right),
            ("leaves out what is no answer", prompts_are_left_out),
            ("learns the answers and their ends", answers_are_learned),
        ),
        (
            ("no end is added: the model never learns to stop", labelled(ending=lambda is_answer, last: False)),
            ("the end is added, but not learned: its label is -100", labelled(end_label=lambda end: -100)),
            (
                "an end is added after every piece, not only after answers",
                labelled(ending=lambda is_answer, last: True),
            ),
            ("only one end is added, after the whole conversation", labelled(ending=lambda is_answer, last: last)),
            ("everything is learned, the questions too", labelled(prompt_label=lambda v: v)),
            ("what is no answer has the label 0; that is a token, -100 is none", labelled(prompt_label=lambda v: 0)),
            (
                "questions are learned and answers left out",
                labelled(prompt_label=lambda v: v, answer=lambda v: -100),
            ),
            ("the labels are shifted by one place: the loss does that itself", shifted),
            *OTHER["20.1"],
        ),
        (
            "Go through the pieces, and build two lists of the same length.",
            "For an answer: its tokens and the end go into both. For anything else: its tokens, and as many -100.",
            "labels += tokens if is_answer else [-100] * len(tokens), where tokens has the end for an answer",
        ),
    ),
)
