import numpy as np
from exercise_answers import Answers

answers = Answers()


@answers.wrong("16.1", says="has its sign")
def signed(p, g, importance, uncertainty, beta1, beta2):
    now = p * g
    importance = beta1 * importance + (1 - beta1) * now
    return importance, beta2 * uncertainty + (1 - beta2) * np.abs(now - importance)


@answers.wrong("16.1", says="from the old importance")
def distance_from_the_old(p, g, importance, uncertainty, beta1, beta2):
    now = np.abs(p * g)
    return (
        beta1 * importance + (1 - beta1) * now,
        beta2 * uncertainty + (1 - beta2) * np.abs(now - importance),
    )


@answers.wrong("16.1", says="has the share beta")
def other_share(p, g, importance, uncertainty, beta1, beta2):
    now = np.abs(p * g)
    importance = (1 - beta1) * importance + beta1 * now
    return importance, (1 - beta2) * uncertainty + beta2 * np.abs(now - importance)


@answers.wrong("16.1", says="changes its third argument")
def in_place(p, g, importance, uncertainty, beta1, beta2):
    now = np.abs(p * g)
    importance *= beta1
    importance += (1 - beta1) * now
    return importance, beta2 * uncertainty + (1 - beta2) * np.abs(now - importance)


@answers.wrong("16.1", says="expected 2 values")
def the_product(p, g, importance, uncertainty, beta1, beta2):
    return importance * uncertainty


@answers.right("16.1")
def by_differences(p, g, importance, uncertainty, beta1, beta2):
    now = np.abs(p) * np.abs(g)
    new = importance + (1 - beta1) * (now - importance)
    return [new, uncertainty - (1 - beta2) * (uncertainty - np.maximum(now - new, new - now))]


@answers.right("16.1")
def with_loops(p, g, importance, uncertainty, beta1, beta2):
    first, second = np.zeros(p.shape), np.zeros(p.shape)
    for i in np.ndindex(p.shape):
        now = abs(float(p[i]) * float(g[i]))
        first[i] = beta1 * importance[i] + (1 - beta1) * now
        second[i] = beta2 * uncertainty[i] + (1 - beta2) * abs(now - first[i])
    return first, second


@answers.wrong("16.2", says="every layer keeps the same number")
def layer_by_layer(scores, budget):
    each = budget // len(scores)
    mask = np.zeros(scores.shape, bool)
    for row, chosen in zip(scores, mask, strict=True):
        chosen[np.argsort(row)[::-1][:each]] = True
    return mask


@answers.wrong("16.2", says="the budget is")
def at_the_threshold_too(scores, budget):
    k = scores.size - budget
    return scores >= np.sort(scores.ravel())[max(k - 1, 0)]


@answers.wrong("16.2", says="of equal scores some stay")
def breaks_ties(scores, budget):
    mask = np.zeros(scores.size, bool)
    mask[np.argsort(-scores.ravel(), kind="stable")[:budget]] = True
    return mask.reshape(scores.shape)


@answers.wrong("16.2", says="IndexError")
def needs_something_to_fall(scores, budget):
    return scores > np.sort(scores.ravel())[::-1][budget]


@answers.wrong("16.2", says="True and False")
def places(scores, budget):
    return np.argsort(scores.ravel()).reshape(scores.shape) + 2


@answers.right("16.2")
def counts_those_at_least_as_high(scores, budget):
    return [[int((scores >= score).sum()) <= budget for score in row] for row in scores.tolist()]


@answers.right("16.2")
def by_ranks(scores, budget):
    flat = scores.ravel()
    at_least = len(flat) - np.searchsorted(np.sort(flat), flat, side="left")
    return (at_least <= budget).reshape(scores.shape)


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
