"""Exercises of lesson 20: instruction tuning.

In a terminal:

    minilora check 20                check your functions
    minilora hint 20.1 --level 1     a nudge; level 2: a sketch; level 3: almost the answer
"""

import numpy as np

# ---- 20.1 · medium, 20 minutes · learn the answers only


def label_answers(parts, end):
    """The ids of a conversation, and the labels of what is to be learned of it.

    parts: list of (is_answer, ids): pieces of the conversation in order, with their tokens. After
    each answer, and nowhere else, the token `end` is added: the model must learn to stop.

    A token that is to be learned has itself as its label: those of the answers, and their ends.
    Every other token has the label -100, which the loss leaves out.

    Returns (ids, labels), two arrays of whole numbers of one length.
    """
    raise NotImplementedError
