import numpy as np
from exercise_answers import Answers

answers = Answers()


@answers.wrong("23.2", says="bits are counted")
def in_bits(workers, numbers):
    return 2 * (workers - 1) * numbers // workers * 32


@answers.wrong("23.1", says="mean of the workers' means")
def mean_of_means(gradients, labels):
    return np.mean(gradients, axis=0)


@answers.wrong("23.1", says="without weights")
def plain_sum(gradients, labels):
    return gradients.sum(axis=0)


@answers.wrong("23.1", says="that have labels")
def mean_of_those_with_labels(gradients, labels):
    return gradients[labels > 0].mean(axis=0)


@answers.wrong("23.1", says="has the shape")
def summed_over_the_numbers(gradients, labels):
    return (gradients * labels[:, None]).sum(axis=1) / labels.sum()


@answers.wrong("23.1", says="not divided by all labels")
def of_the_sum(gradients, labels):
    return labels @ gradients


@answers.right("23.1")
def by_average(gradients, labels):
    return np.average(gradients, axis=0, weights=labels)


@answers.right("23.1")
def one_after_another(gradients, labels):
    total, seen = [0.0] * gradients.shape[1], 0
    for g, count in zip(gradients.tolist(), labels.tolist(), strict=True):
        if count:
            seen += count
            total = [t + (v - t) * count / seen for t, v in zip(total, g, strict=True)]
    return total


@answers.wrong("23.2", says="first half")
def sums_only(workers, numbers):
    return (workers - 1) * numbers // workers * 4


@answers.wrong("23.2", says="too large by `workers`")
def sends_everything(workers, numbers):
    return 2 * (workers - 1) * numbers * 4


@answers.wrong("23.2", says="not bytes")
def in_numbers(workers, numbers):
    return 2 * (workers - 1) * numbers // workers


@answers.wrong("23.2", says="too large by `workers`")
def all_together(workers, numbers):
    return 8 * (workers - 1) * numbers


@answers.right("23.2")
def as_a_share(workers, numbers):
    return 8 * numbers - 8 * numbers // workers


@answers.right("23.2")
def round_by_round(workers, numbers):
    sent = 0
    for _ in range(2):
        for _ in range(1, workers):
            sent += np.zeros(numbers // workers, np.float32).nbytes
    return sent


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
