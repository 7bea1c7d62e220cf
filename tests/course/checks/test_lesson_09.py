import statistics

import numpy as np
from exercise_answers import Answers

answers = Answers()


@answers.wrong("9.1", says="needs")
def nearest(shapes, budget):
    return round(budget / sum(a + b for a, b in shapes))


@answers.wrong("9.1", says="rounded up")
def up(shapes, budget):
    return -(-budget // sum(a + b for a, b in shapes))


@answers.wrong("9.1", says="each matrix gets the whole budget")
def for_the_first(shapes, budget):
    return budget // sum(shapes[0])


@answers.wrong("9.1", says="not rounded to a whole number")
def fraction(shapes, budget):
    return budget / sum(a + b for a, b in shapes)


@answers.wrong("9.1", says="rank 1 needs 9 parameters")
def at_least_one(shapes, budget):
    return max(1, budget // sum(a + b for a, b in shapes))


@answers.right("9.1")
def counting_up(shapes, budget):
    r = 0
    while sum((r + 1) * (out + n) for out, n in shapes) <= budget:
        r += 1
    return r


@answers.right("9.1")
def with_numpy(shapes, budget):
    return np.floor(budget / np.array(shapes).sum())


@answers.wrong("9.2", says="divided by n instead of n - 1")
def population(scores):
    return np.mean(scores), np.std(scores)


@answers.wrong("9.2", says="that is the variance")
def variance(scores):
    return statistics.mean(scores), statistics.variance(scores)


@answers.wrong("9.2", says="the spread is the range")
def largest_minus_smallest(scores):
    return np.mean(scores), max(scores) - min(scores)


@answers.wrong("9.2", says="standard error")
def error_of_the_mean(scores):
    return np.mean(scores), np.std(scores, ddof=1) / np.sqrt(len(scores))


@answers.wrong("9.2", says="expected 2 values: return mean, spread")
def only_the_mean(scores):
    return float(np.mean(scores))


@answers.wrong("9.2", says="the spread is")
def forgets_the_root_and_the_sum(scores):
    return np.mean(scores), abs(scores[0] - np.mean(scores))


@answers.right("9.2")
def standard_library(scores):
    return statistics.fmean(scores), statistics.stdev(scores)


@answers.right("9.2")
def by_pairs(scores):
    n = len(scores)
    pairs = sum((a - b) ** 2 for a in scores for b in scores)
    return [sum(scores) / n, (pairs / (2 * n * (n - 1))) ** 0.5]


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
