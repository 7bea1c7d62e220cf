import numpy as np
from exercise_answers import Answers

from minilora import Tensor, ops

answers = Answers()


@answers.wrong("18.1", says="prefix is left out")
def plain_attention(q, K, V, Pk, Pv):
    return with_lists(q, K, V, Pk[:0], Pv[:0])


@answers.wrong("18.1", says="not divided by the root of d")
def unscaled(q, K, V, Pk, Pv):
    return with_lists(q * np.sqrt(len(q)), K, V, Pk, Pv)


@answers.wrong("18.1", says="only the scores of the text are divided by the root of d")
def prefix_unscaled(q, K, V, Pk, Pv):
    return with_lists(q, K, V, Pk * np.sqrt(len(q)), Pv)


@answers.wrong("18.1", says="are exchanged")
def prefix_the_wrong_way(q, K, V, Pk, Pv):
    return with_lists(q, K, V, Pv, Pk)


@answers.wrong("18.1", says="the result has the shape")
def weights_alone(q, K, V, Pk, Pv):
    z = np.concatenate([Pk, K]) @ q / np.sqrt(len(q))
    return (np.exp(z) / np.exp(z).sum())[None]


@answers.right("18.1")
def with_lists(q, K, V, Pk, Pv):
    z = [float(q @ k) / len(q) ** 0.5 for k in (*Pk, *K)]
    shares = [np.exp(v) for v in z]
    return sum(share * value for share, value in zip(shares, (*Pv, *V), strict=True)) / sum(shares)


@answers.right("18.1")
def with_the_library(q, K, V, Pk, Pv):
    scores = Tensor(np.concatenate([K, Pk]) @ q / np.sqrt(len(q)))  # the order does not matter
    return ops.softmax(scores).numpy() @ np.concatenate([V, Pv])


@answers.wrong("18.2", says="changes nothing here")
def nothing_happens(scores, n):
    return 1.0


@answers.wrong("18.2", says="only the number of places")
def counts_places(scores, n):
    return len(scores) / (len(scores) + n)


@answers.wrong("18.2", says="share of the prefix")
def the_other_share(scores, n):
    return n / (np.exp(scores).sum() + n)


@answers.wrong("18.2", says="the factor")
def of_the_largest(scores, n):
    return np.exp(scores).max() / (np.exp(scores).max() + n)


@answers.right("18.2")
def by_attention(scores, n):
    weights = np.exp(np.concatenate([np.zeros(n), scores]))
    return (weights / weights.sum())[n:].sum()


@answers.right("18.2")
def one_minus(scores, n):
    return 1 - n / (n + sum(np.exp(v) for v in scores))


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
