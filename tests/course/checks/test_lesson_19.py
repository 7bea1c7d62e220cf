import numpy as np
from exercise_answers import Answers

from minilora.combining.ties import paper_ties
from minilora.combining.weighted import Factors, roots

answers = Answers()


@answers.wrong("19.1", says="exact sum of the updates")
def the_sum(A1, B1, A2, B2, w1, w2):
    return w1 * B1 @ A1 + w2 * B2 @ A2


@answers.wrong("19.1", says="without their roots")
def whole_weights(A1, B1, A2, B2, w1, w2):
    return (abs(w1) * B1 + abs(w2) * B2) @ (w1 * A1 + w2 * A2)


@answers.wrong("19.1", says="has nan")
def root_of_a_negative_number(A1, B1, A2, B2, w1, w2):
    with np.errstate(invalid="ignore"):
        return (np.sqrt(w1) * B1 + np.sqrt(w2) * B2) @ (np.sqrt(w1) * A1 + np.sqrt(w2) * A2)


@answers.wrong("19.1", says="it is lost in the product")
def sign_twice(A1, B1, A2, B2, w1, w2):
    s1, s2 = (np.sign(w) * abs(w) ** 0.5 for w in (w1, w2))
    return (s1 * B1 + s2 * B2) @ (s1 * A1 + s2 * A2)


@answers.wrong("19.1", says="A1 (1, 2)")
def A_first(A1, B1, A2, B2, w1, w2):
    return A1 @ B1 * w1 + A2 @ B2 * w2


@answers.right("19.1")
def with_the_library(A1, B1, A2, B2, w1, w2):
    of_A, of_B = roots([Factors(w1, 1.0, A1, B1), Factors(w2, 1.0, A2, B2)])
    return (of_B[0] * B1 + of_B[1] * B2) @ (of_A[0] * A1 + of_A[1] * A2)


@answers.right("19.1")
def sum_and_cross_terms(A1, B1, A2, B2, w1, w2):
    cross = abs(w1 * w2) ** 0.5
    exact = w1 * B1 @ A1 + w2 * B2 @ A2
    return exact + cross * (np.sign(w2) * B1 @ A2 + np.sign(w1) * B2 @ A1)


@answers.wrong("19.2", says="nothing is trimmed")
def elects_and_averages(updates, density):
    return with_a_loop(updates, 1.0)


@answers.wrong("19.2", says="no sign is elected")
def trims_and_averages(updates, density):
    kept = np.stack([trimmed_by_the_cutoff(row, density) for row in updates])
    return kept.sum(axis=0) / np.maximum((kept != 0).sum(axis=0), 1)


@answers.wrong("19.2", says="not of those that agree")
def mean_of_all(updates, density):
    kept = np.stack([trimmed_by_the_cutoff(row, density) for row in updates])
    agree = np.sign(kept) == np.sign(kept.sum(axis=0))
    return np.where(agree, kept, 0).mean(axis=0)


@answers.wrong("19.2", says="counts heads")
def most_votes(updates, density):
    kept = np.stack([trimmed_by_the_cutoff(row, density) for row in updates])
    sign = np.sign(np.sign(kept).sum(axis=0))
    agree = (np.sign(kept) == sign) & (kept != 0)
    return (kept * agree).sum(axis=0) / np.maximum(agree.sum(axis=0), 1)


@answers.wrong("19.2", says="changes its first argument")
def trims_in_place(updates, density):
    for row in updates:
        row[...] = trimmed_by_the_cutoff(row, density)
    return with_a_loop(updates, 1.0)


def trimmed_by_the_cutoff(row, density):
    stay = int(density * len(row))
    return np.where(abs(row) >= np.sort(abs(row))[-stay], row, 0) if stay else np.zeros(len(row))


@answers.right("19.2")
def by_the_library(updates, density):
    stay = int(density * updates.shape[1])
    return paper_ties(list(updates), [np.sort(abs(row))[-stay] if stay else np.inf for row in updates])


@answers.right("19.2")
def with_a_loop(updates, density):
    kept = [trimmed_by_the_cutoff(row, density) for row in updates]
    result = []
    for numbers in zip(*kept, strict=True):
        total = sum(numbers)
        agreeing = [v for v in numbers if v * total > 0]
        result.append(sum(agreeing) / len(agreeing) if agreeing else 0.0)
    return result


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
