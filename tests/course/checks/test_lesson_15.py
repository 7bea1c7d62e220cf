import numpy as np
from exercise_answers import Answers

from minilora import Tensor
from minilora.methods.dora import dora_update
from minilora.nn import Linear, Parameter

answers = Answers()


@answers.wrong("15.1", says="the length is that of W's rows")
def length_of_W(x, W, A, B, m, alpha, r):
    return m / np.linalg.norm(W, axis=1) * (x @ (W + alpha / r * B @ A).T)


@answers.wrong("15.1", says="lengths of the columns")
def length_of_columns(x, W, A, B, m, alpha, r):
    V = W + alpha / r * B @ A
    return m / np.linalg.norm(V, axis=0) * (x @ V.T)


@answers.wrong("15.1", says="one length of the whole matrix")
def length_of_the_matrix(x, W, A, B, m, alpha, r):
    V = W + alpha / r * B @ A
    return m / np.linalg.norm(V) * (x @ V.T)


@answers.wrong("15.1", says="neither length nor m is used")
def plain_lora(x, W, A, B, m, alpha, r):
    return x @ (W + alpha / r * B @ A).T


@answers.wrong("15.1", says="y for B = 0")
def length_of_one_output_too_many(x, W, A, B, m, alpha, r):
    V = W + alpha / r * B @ A
    y = x @ V.T
    return y * m / np.sqrt((V * V).sum(axis=1) + 1)


@answers.wrong("15.1", says="it is transposed")
def outputs_first(x, W, A, B, m, alpha, r):
    V = W + alpha / r * B @ A
    return (m / np.linalg.norm(V, axis=1))[:, None] * (V @ x.T)


@answers.right("15.1")
def with_the_library(x, W, A, B, m, alpha, r):
    V = W + alpha / r * B @ A
    y = Tensor(x @ W.T)
    return dora_update(y, Tensor(x), Tensor(A), Tensor(B), Tensor(m), np.linalg.norm(V, axis=1), alpha / r, None)


@answers.right("15.1")
def row_by_row(x, W, A, B, m, alpha, r):
    V = W + alpha / r * B @ A
    return [[m[o] * float(row @ V[o]) / float(V[o] @ V[o]) ** 0.5 for o in range(len(W))] for row in x]


@answers.wrong("15.2", says="not divided away")
def of_an_undivided_row(x, g, W, A, B, m, alpha, r):
    return (g * (x @ (W + alpha / r * B @ A).T)).sum(axis=0)


@answers.wrong("15.2", says="does not depend on m")
def times_m(x, g, W, A, B, m, alpha, r):
    V = W + alpha / r * B @ A
    return m * (g * (x @ V.T)).sum(axis=0) / np.linalg.norm(V, axis=1)


@answers.wrong("15.2", says="averaged")
def mean_of_rows(x, g, W, A, B, m, alpha, r):
    V = W + alpha / r * B @ A
    return (g * (x @ V.T)).mean(axis=0) / np.linalg.norm(V, axis=1)


@answers.wrong("15.2", says="changes its second argument")
def multiplies_g(x, g, W, A, B, m, alpha, r):
    V = W + alpha / r * B @ A
    g *= x @ V.T
    return g.sum(axis=0) / np.linalg.norm(V, axis=1)


@answers.right("15.2")
def by_the_tape(x, g, W, A, B, m, alpha, r):
    V = W + alpha / r * B @ A
    M = Tensor(m, requires_grad=True)
    (M * Tensor(x @ V.T / np.linalg.norm(V, axis=1))).backward(g)
    return M.grad


@answers.right("15.2")
def through_the_full_gradient(x, g, W, A, B, m, alpha, r):
    V = W + alpha / r * B @ A
    directions = V / np.linalg.norm(V, axis=1, keepdims=True)
    return np.einsum("oi,oi->o", g.T @ x, directions)


@answers.wrong("15.3", says="V is returned")
def lora_merge(W, A, B, m, alpha, r):
    return W + alpha / r * B @ A


@answers.wrong("15.3", says="rows are not divided by their length")
def times_m_alone(W, A, B, m, alpha, r):
    return m[:, None] * (W + alpha / r * B @ A)


@answers.wrong("15.3", says="the length of each merged row")
def merges_twice(W, A, B, m, alpha, r):
    V = W + alpha / r * B @ A
    merged = m[:, None] * V / np.linalg.norm(V, axis=1)[:, None]
    return merged + alpha / r * B @ A


@answers.wrong("15.3", says="update is added afterwards")
def only_W_scaled(W, A, B, m, alpha, r):
    D = alpha / r * B @ A
    return W * (m / np.linalg.norm(W + D, axis=1))[:, None] + D


@answers.right("15.3")
def by_what_it_does(W, A, B, m, alpha, r):
    V = W + alpha / r * B @ A
    return np.diag(m / np.sqrt(np.diag(V @ V.T))) @ V


@answers.right("15.3")
def from_a_layer(W, A, B, m, alpha, r):
    V = W + alpha / r * B @ A
    layer = Linear(W.shape[1], len(W), bias=False)
    layer.weight = Parameter(W.shape, data=(V.T * (m / np.linalg.norm(V, axis=1))).T)
    return layer(np.eye(W.shape[1])).numpy().T


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
