import numpy as np
from exercise_answers import Answers

answers = Answers()


@answers.wrong("5.1", says="U Vᵀ alone")
def without_singular_values(D, r):
    U, s, Vh = np.linalg.svd(D)
    return U[:, :r] @ Vh[:r]


@answers.wrong("5.1", says="smallest singular values are kept")
def the_smallest(D, r):
    U, s, Vh = np.linalg.svd(D, full_matrices=False)
    return U[:, -r:] @ np.diag(s[-r:]) @ Vh[-r:]


@answers.wrong("5.1", says="first r columns of D")
def columns(D, r):
    part = np.zeros_like(D)
    part[:, :r] = D[:, :r]
    return part


@answers.wrong("5.1", says="where D itself has rank 2")
def random_directions(D, r):
    Q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((D.shape[1], r)))
    return D @ Q @ Q.T


@answers.wrong("5.1", says="expected (2, 2)")
def only_the_factor(D, r):
    U, s, Vh = np.linalg.svd(D, full_matrices=False)
    return U[:, :r] * s[:r]


@answers.right("5.1")
def by_eigenvectors(D, r):
    _, V = np.linalg.eigh(D.T @ D)  # the largest last
    V = V[:, -r:]
    return D @ V @ V.T


@answers.right("5.1")
def one_direction_at_a_time(D, r):
    part = np.zeros(D.shape)
    for _ in range(min(r, *D.shape)):
        v = np.ones(D.shape[1]) + 0.1 * np.arange(D.shape[1])
        for _ in range(2000):
            v = (D - part).T @ ((D - part) @ v)
            v /= np.linalg.norm(v)
        part = part + np.outer((D - part) @ v, v)
    return part


@answers.wrong("5.2", says="the energy is the sum of their squares")
def not_squared(s, share):
    return int(np.argmax(np.cumsum(s) >= share * s.sum())) + 1


@answers.wrong("5.2", says="one too small")
def position(s, share):
    return int(np.argmax(np.cumsum(s**2) >= share * (s**2).sum()))


@answers.wrong("5.2", says="expected one whole number")
def a_share_of_the_width(s, share):
    return share * len(s) + 0.05


@answers.wrong("5.2", says="those larger than a share")
def above_a_threshold(s, share):
    return np.count_nonzero(s > share * s[0])


@answers.right("5.2")
def counts_those_before(s, share):
    return np.sum(np.cumsum(s**2) / np.sum(s**2) < share) + 1


@answers.right("5.2")
def loop(s, share):
    left, k = share * float(s @ s), 0
    while left > 0:
        left -= s[k] ** 2
        k += 1
    return float(k)


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
