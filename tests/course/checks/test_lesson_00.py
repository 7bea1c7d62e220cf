import numpy as np
from exercise_answers import Answers

answers = Answers()


@answers.wrong("0.1", says="alpha / r is left out")
def no_scale(W, A, B, alpha, r):
    return W + B @ A


@answers.wrong("0.1", says="not divided by r")
def alpha_alone(W, A, B, alpha, r):
    return W + alpha * B @ A


@answers.wrong("0.1", says="inverted")
def upside_down(W, A, B, alpha, r):
    return W + r / alpha * B @ A


@answers.wrong("0.1", says="ValueError")
def exchanged(W, A, B, alpha, r):
    return W + alpha / r * A @ B


@answers.wrong("0.1", says="changes its first argument")
def in_place(W, A, B, alpha, r):
    W += alpha / r * B @ A
    return W


@answers.wrong("0.1", says="it is transposed")
def transposed(W, A, B, alpha, r):
    return W.T + alpha / r * A.T @ B.T


@answers.wrong("0.1", says="off by the factor 2 everywhere")
def twice(W, A, B, alpha, r):
    return W + 2 * alpha / r * B @ A


@answers.right("0.1")
def einsum(W, A, B, alpha, r):
    return np.einsum("or,ri->oi", B * (alpha / r), A) + W


@answers.right("0.1")
def by_hand(W, A, B, alpha, r):
    out = W.tolist()
    for o in range(len(B)):
        for i in range(A.shape[1]):
            for k in range(r):
                out[o][i] += alpha * B[o, k] * A[k, i] / r
    return out


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
