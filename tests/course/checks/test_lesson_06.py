import numpy as np
from exercise_answers import Answers

from minilora import Tensor
from minilora.methods.lora import low_rank_update

answers = Answers()


@answers.wrong("6.1", says="alpha / r is left out")
def no_scale(x, W, A, B, alpha, r):
    return x @ W.T + x @ A.T @ B.T


@answers.wrong("6.1", says="without dividing by r")
def alpha_alone(x, W, A, B, alpha, r):
    return x @ W.T + alpha * (x @ A.T @ B.T)


@answers.wrong("6.1", says="frozen layer's output is scaled too")
def scales_everything(x, W, A, B, alpha, r):
    return (x @ W.T + x @ A.T @ B.T) * alpha / r


@answers.wrong("6.1", says="ValueError")
def takes_A_and_B_the_other_way(x, W, A, B, alpha, r):
    return x @ W.T + alpha / r * x @ A @ B


@answers.wrong("6.1", says="it is transposed")
def one_column_per_example(x, W, A, B, alpha, r):
    return W @ x.T + alpha / r * B @ (A @ x.T)


@answers.wrong("6.1", says="changes its second argument")
def merges_into_W(x, W, A, B, alpha, r):
    W += alpha / r * B @ A
    return x @ W.T


@answers.wrong("6.1", says="float16, which has only three digits")
def in_float16(x, W, A, B, alpha, r):
    return (x @ W.T + alpha / r * x @ A.T @ B.T).astype(np.float16)


@answers.wrong("6.1", says="in whole numbers, alpha // r")
def whole_scale(x, W, A, B, alpha, r):
    return x @ W.T + (alpha // r) * x @ A.T @ B.T


@answers.right("6.1")
def merged(x, W, A, B, alpha, r):
    return x @ (W + alpha / r * B @ A).T


@answers.right("6.1")
def einsum_in_float32(x, W, A, B, alpha, r):
    x, W, A, B = (a.astype(np.float32) for a in (x, W, A, B))
    return np.einsum("ni,oi->no", x, W) + np.einsum("ni,ki,ok->no", x, A, B) * np.float32(alpha / r)


@answers.right("6.1")
def row_by_row(x, W, A, B, alpha, r):
    return [W @ row + B @ (A @ row) * alpha / r for row in x]


@answers.wrong("6.2", says="missing in both gradients")
def no_scale_in_gradients(x, g, A, B, alpha, r):
    return (g @ B).T @ x, g.T @ (x @ A.T)


@answers.wrong("6.2", says="dA has the right shape but wrong values: too small by the factor alpha/r")
def no_scale_in_dA(x, g, A, B, alpha, r):
    return (g @ B).T @ x, alpha / r * g.T @ (x @ A.T)


@answers.wrong("6.2", says="applied twice")
def scale_twice(x, g, A, B, alpha, r):
    s = alpha / r
    return s * (s * g @ B).T @ x, s * s * g.T @ (x @ A.T)


@answers.wrong("6.2", says="averaged over the N rows")
def mean_over_rows(x, g, A, B, alpha, r):
    s = alpha / r / len(x)
    return s * (g @ B).T @ x, s * g.T @ (x @ A.T)


@answers.wrong("6.2", says="in the other order")
def other_order(x, g, A, B, alpha, r):
    s = alpha / r
    return s * g.T @ (x @ A.T), s * (g @ B).T @ x


@answers.wrong("6.2", says="expected 2 values: return dA, dB")
def gradient_of_the_frozen_weight_too(x, g, A, B, alpha, r):
    s = alpha / r
    return s * (g @ B).T @ x, s * g.T @ (x @ A.T), g.T @ x


@answers.wrong("6.2", says="dA for B = 0")
def thinks_A_learns_first(x, g, A, B, alpha, r):
    s = alpha / r
    return s * g.sum(axis=1) @ x * np.ones((r, 1)), s * g.T @ (x @ A.T)


@answers.wrong("6.2", says="the sign is wrong")
def descends(x, g, A, B, alpha, r):
    s = alpha / r
    return -s * (g @ B).T @ x, -s * g.T @ (x @ A.T)


@answers.wrong("6.2", says="changes its second argument")
def scales_g_in_place(x, g, A, B, alpha, r):
    g *= alpha / r
    return (g @ B).T @ x, g.T @ (x @ A.T)


@answers.wrong("6.2", says="they are int64, whole numbers")
def into_arrays_of_integers(x, g, A, B, alpha, r):
    dA, dB = np.zeros(A.shape, dtype=np.int64), np.zeros(B.shape, dtype=np.int64)
    dA[:] = alpha / r * (g @ B).T @ x
    dB[:] = alpha / r * g.T @ (x @ A.T)
    return dA, dB


@answers.right("6.2")
def through_the_full_gradient(x, g, A, B, alpha, r):
    dW = alpha / r * g.T @ x  # (out, in): large, but right
    return B.T @ dW, dW @ A.T


@answers.right("6.2")
def einsum_gradients(x, g, A, B, alpha, r):
    s = alpha / r
    return [s * np.einsum("no,ok,ni->ki", g, B, x), s * np.einsum("no,ni,ki->ok", g, x, A)]


@answers.right("6.2")
def with_the_library(x, g, A, B, alpha, r):
    y = Tensor(np.zeros((len(x), len(B))))
    a, b = Tensor(A, requires_grad=True), Tensor(B, requires_grad=True)
    low_rank_update(y, Tensor(x), a, b, alpha / r).backward(g)
    return Tensor(a.grad), b.grad


@answers.wrong("6.3", says="through the adapter is forgotten")
def only_frozen(g, W, A, B, alpha, r):
    return g @ W


@answers.wrong("6.3", says="through the frozen W is forgotten")
def only_adapter(g, W, A, B, alpha, r):
    return alpha / r * (g @ B) @ A


@answers.wrong("6.3", says="scale alpha / r is left out")
def unscaled(g, W, A, B, alpha, r):
    return g @ W + g @ B @ A


@answers.wrong("6.3", says="ValueError")
def with_W_transposed(g, W, A, B, alpha, r):
    return g @ W.T + alpha / r * g @ B @ A


@answers.wrong("6.3", says="Also, your function changes its first argument")
def clears_a_gradient_on_the_way(g, W, A, B, alpha, r):
    g[0, 0] = 0
    return g @ W + alpha / r * g @ B @ A


@answers.right("6.3")
def with_one_matrix(g, W, A, B, alpha, r):
    return g @ (W + alpha / r * (B @ A))


@answers.right("6.3")
def transposed_twice(g, W, A, B, alpha, r):
    return (W.T @ g.T + A.T @ (B.T @ g.T) * alpha / r).T


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
