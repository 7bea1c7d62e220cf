import numpy as np
from exercise_answers import Answers

answers = Answers()


@answers.wrong("2.1", says="mean is taken")
def mean_in_place_of_sum(g, shape):
    for _ in range(g.ndim - len(shape)):
        g = g.mean(axis=0)
    return np.stack([g]).mean(axis=tuple(i + 1 for i, n in enumerate(shape) if n == 1), keepdims=True)[0]


@answers.wrong("2.1", says="has the shape")
def forgets_the_stretched_axes(g, shape):
    return g.sum(axis=tuple(range(g.ndim - len(shape))))


@answers.wrong("2.1", says="has the shape")
def forgets_keepdims(g, shape):
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    return g.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1))


@answers.wrong("2.1", says="ValueError")
def reshapes(g, shape):
    return g.reshape(shape)


@answers.wrong("2.1", says="one of the repeated gradients is taken")
def takes_the_first(g, shape):
    while g.ndim > len(shape):
        g = g[0]
    return g[tuple(slice(0, n) for n in shape)]


@answers.right("2.1")
def with_a_matrix_of_ones(g, shape):
    big = (1,) * (g.ndim - len(shape)) + tuple(shape)
    for axis, n in enumerate(big):
        if n == 1:
            g = np.moveaxis(np.tensordot(np.ones((1, g.shape[axis])), g, axes=(1, axis)), 0, axis)
    return g.reshape(shape)


@answers.right("2.1")
def by_adding_up_every_place(g, shape):
    total = np.zeros(shape)
    where = np.broadcast_to(np.arange(total.size).reshape(shape), g.shape)
    np.add.at(total.reshape(-1), where.reshape(-1), g.reshape(-1))
    return total


@answers.wrong("2.2", says="returned in the other order")
def swapped(A, B, G):
    return A.T @ G, G @ B.T


@answers.wrong("2.2", says="dB has the shape")
def transposed_dB(A, B, G):
    return G @ B.T, G.T @ A


@answers.wrong("2.2", says="incoming gradient G is left out")
def no_upstream(A, B, G):
    m, n = G.shape
    return np.tile(B.sum(axis=1), (m, 1)), np.tile(A.sum(axis=0)[:, None], (1, n))


@answers.wrong("2.2", says="expected 2 values: return dA, dB")
def only_dA(A, B, G):
    return G @ B.T


@answers.wrong("2.2", says="dA is None")
def a_frozen_A(A, B, G):
    return None, A.T @ G


@answers.wrong("2.2", says="too small by the factor the number of rows")
def averaged_over_rows(A, B, G):
    return G @ B.T, A.T @ G / len(A)


@answers.right("2.2")
def einsum(A, B, G):
    return np.einsum("mn,kn->mk", G, B), np.einsum("mk,mn->kn", A, G)


@answers.right("2.2")
def loops_and_a_list(A, B, G):
    (m, k), n = A.shape, B.shape[1]
    dA = [[sum(G[i, l] * B[j, l] for l in range(n)) for j in range(k)] for i in range(m)]
    dB = [[sum(A[i, j] * G[i, l] for i in range(m)) for l in range(n)] for j in range(k)]
    return [dA, dB]


@answers.wrong("2.3", says="expected zeros")
def no_coupling(p, g):
    return p * g


@answers.wrong("2.3", says="only the diagonal")
def diagonal(p, g):
    return p * (1 - p) * g


@answers.wrong("2.3", says="down the columns")
def wrong_axis(p, g):
    return p * (g - (g * p).sum(axis=0))


@answers.wrong("2.3", says="the whole array")
def whole_array(p, g):
    return p * (g - np.sum(g * p))


@answers.wrong("2.3", says="the sign is wrong")
def other_sign(p, g):
    return p * ((g * p).sum(axis=-1, keepdims=True) - g)


@answers.right("2.3")
def with_the_jacobian(p, g):
    rows = [(np.diag(row) - np.outer(row, row)) @ up for row, up in zip(p, g, strict=True)]
    return np.array(rows)


@answers.right("2.3")
def einsum_and_float32(p, g):
    p, g = p.astype(np.float32), g.astype(np.float32)
    return p * g - p * np.einsum("ij,ij->i", p, g)[:, None]


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
