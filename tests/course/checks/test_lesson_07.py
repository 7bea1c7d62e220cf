import math

import numpy as np
from exercise_answers import Answers

answers = Answers()


@answers.wrong("7.1", says="rank_stabilised is ignored")
def one_way(alpha, r, rank_stabilised):
    return alpha / r


@answers.wrong("7.1", says="swapped")
def other_way(alpha, r, rank_stabilised):
    return alpha / r if rank_stabilised else alpha / math.sqrt(r)


@answers.wrong("7.1", says="under the root too")
def root_of_all(alpha, r, rank_stabilised):
    return math.sqrt(alpha / r) if rank_stabilised else alpha / r


@answers.wrong("7.1", says="whole numbers, alpha // r")
def whole_division(alpha, r, rank_stabilised):
    return alpha // r if not rank_stabilised else alpha / r**0.5


@answers.right("7.1")
def numpy_power(alpha, r, rank_stabilised):
    return np.float32(alpha) * np.power(float(r), -0.5 if rank_stabilised else -1.0)


@answers.right("7.1")
def by_steps(alpha, r, rank_stabilised):
    s = alpha / r
    if rank_stabilised:
        s *= math.sqrt(r)
    return np.array([s])


@answers.wrong("7.2", says="inverted")
def upside_down(alpha, r, new_r, rank_stabilised):
    return alpha * (r / new_r) ** (0.5 if rank_stabilised else 1)


@answers.wrong("7.2", says="root of rsLoRA is forgotten")
def no_root(alpha, r, new_r, rank_stabilised):
    return alpha / r * new_r


@answers.wrong("7.2", says="alpha is not changed")
def unchanged(alpha, r, new_r, rank_stabilised):
    return alpha


@answers.wrong("7.2", says="set to the new rank")
def alpha_equals_r(alpha, r, new_r, rank_stabilised):
    return new_r


@answers.right("7.2")
def through_the_scale(alpha, r, new_r, rank_stabilised):
    root = math.sqrt if rank_stabilised else float
    return alpha / root(r) * root(new_r)


@answers.right("7.2")
def with_logarithms(alpha, r, new_r, rank_stabilised):
    return math.exp(math.log(alpha) + (math.log(new_r) - math.log(r)) / (2 if rank_stabilised else 1))


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
