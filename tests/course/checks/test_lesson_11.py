import numpy as np
from exercise_answers import Answers

answers = Answers()


@answers.wrong("11.1", says="two terms too many")
def adds_both(A1, B1, s1, A2, B2, s2):
    return A1 + A2, s1 * B1 + s2 * B2


@answers.wrong("11.1", says="the scales are left out")
def no_scales(A1, B1, s1, A2, B2, s2):
    return np.concatenate([A1, A2]), np.concatenate([B1, B2], axis=1)


@answers.wrong("11.1", says="so they are squared")
def scales_twice(A1, B1, s1, A2, B2, s2):
    return np.concatenate([s1 * A1, s2 * A2]), np.concatenate([s1 * B1, s2 * B2], axis=1)


@answers.wrong("11.1", says="not in the same order")
def other_order(A1, B1, s1, A2, B2, s2):
    return np.concatenate([A2, A1]), np.concatenate([s1 * B1, s2 * B2], axis=1)


@answers.wrong("11.1", says="expected A (r, 2) and B (1, r) with one r")
def stacks_along_the_wrong_axes(A1, B1, s1, A2, B2, s2):
    return np.concatenate([A1, A2], axis=1), np.concatenate([s1 * B1, s2 * B2], axis=0)


@answers.wrong("11.1", says="returned 3 values")
def returns_the_scale_too(A1, B1, s1, A2, B2, s2):
    return np.concatenate([A1, A2]), np.concatenate([s1 * B1, s2 * B2], axis=1), 1.0


@answers.wrong("11.1", says="is enough")
def with_a_rank_to_spare(A1, B1, s1, A2, B2, s2):
    return np.concatenate([A1, A2, A1]), np.concatenate([s1 * B1, s2 * B2, 0 * B1], axis=1)


@answers.right("11.1")
def scale_on_A(A1, B1, s1, A2, B2, s2):
    return [np.r_[s2 * A2, s1 * A1], np.c_[B2, B1]]


@answers.right("11.1")
def by_singular_values(A1, B1, s1, A2, B2, s2):
    U, s, Vh = np.linalg.svd(s1 * B1 @ A1 + s2 * B2 @ A2, full_matrices=False)
    r = len(A1) + len(A2)
    return Vh[:r], (U * s)[:, :r]


@answers.wrong("11.1", says="the rank of the new adapter is 7; 5 is enough")
def no_low_rank_at_all(A1, B1, s1, A2, B2, s2):
    return np.eye(A1.shape[1]), s1 * B1 @ A1 + s2 * B2 @ A2


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
