import numpy as np
from exercise_answers import Answers

answers = Answers()


@answers.wrong("12.1", says="scale is left out")
def no_scale(W, A, B, s):
    return W + A.T @ B.T


@answers.wrong("12.1", says="ValueError")
def not_transposed(W, A, B, s):
    return W + s * B @ A if W.shape != (2, 1) else W + s * (B @ A).T


@answers.wrong("12.1", says="changes its first argument")
def in_place(W, A, B, s):
    W += s * (B @ A).T
    return W


@answers.wrong("12.1", says="it is transposed")
def transposes_W(W, A, B, s):
    return W.T + s * B @ A


@answers.wrong("12.1", says="wrong values")
def scale_upside_down(W, A, B, s):
    return W + (B @ A).T / s


@answers.right("12.1")
def one_direction_at_a_time(W, A, B, s):
    for a, b in zip(A, B.T, strict=True):
        W = W + s * np.outer(a, b)
    return W


@answers.right("12.1")
def einsum(W, A, B, s):
    return (W.T + np.einsum("or,ri->oi", B, A) * s).T


@answers.wrong("12.2", says="missing and extra are swapped")
def exchanged(expected, found):
    return (
        sorted(set(found) - set(expected)),
        sorted(set(expected) - set(found)),
        [k for k in set(found) & set(expected) if found[k] != expected[k]],
    )


@answers.wrong("12.2", says="renamed key slips through")
def does_not_look_for_extra(expected, found):
    return (
        [k for k in expected if k not in found],
        [],
        [k for k in expected if k in found and expected[k] != found[k]],
    )


@answers.wrong("12.2", says="shapes are not compared")
def names_alone(expected, found):
    return [k for k in expected if k not in found], [k for k in found if k not in expected], []


@answers.wrong("12.2", says="KeyError")
def looks_up_what_is_not_there(expected, found):
    return [], [], [k for k in expected if expected[k] != found[k]]


@answers.wrong("12.2", says="expected 3")
def only_says_yes_or_no(expected, found):
    return expected == found


@answers.wrong("12.2", says="listed as missing too")
def compares_items(expected, found):
    missing = [k for k, v in expected.items() if (k, v) not in found.items()]
    wrong = [k for k in expected if k in found and found[k] != expected[k]]
    return missing, [k for k in found if k not in expected], wrong


@answers.right("12.2")
def sets(expected, found):
    both = expected.keys() & found.keys()
    return expected.keys() - found.keys(), found.keys() - expected.keys(), {k for k in both if expected[k] != found[k]}


@answers.right("12.2")
def in_one_loop(expected, found):
    missing, extra, wrong = [], [], []
    for k in sorted({*expected, *found}):
        if k not in found:
            missing.append(k)
        elif k not in expected:
            extra.append(k)
        elif tuple(found[k]) != tuple(expected[k]):
            wrong.append(k)
    return [missing, extra, wrong]


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
