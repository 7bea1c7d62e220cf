import numpy as np
from exercise_answers import Answers

from minilora.methods.lora import LoraConfig
from minilora.methods.pissa import Olora, Pissa
from minilora.nn import Linear, Parameter

answers = Answers()


def start_of_the_library(method, init, W, r, alpha):
    layer = Linear(W.shape[1], len(W), bias=False)
    layer.weight = Parameter(W.shape, data=W)
    own = method.beside(layer, LoraConfig(r=r, lora_alpha=alpha, init_lora_weights=init))
    A0, B0 = own.A0.data, own.B0.data
    return A0, B0, W - alpha / r * B0 @ A0


@answers.wrong("17.1", says="W itself is kept")
def keeps_W(W, r, alpha):
    U, S, Vt = np.linalg.svd(W, full_matrices=False)
    root = np.sqrt(S[:r] * r / alpha)
    return root[:, None] * Vt[:r], U[:, :r] * root, W


@answers.wrong("17.1", says="not divided by s")
def forgets_s(W, r, alpha):
    U, S, Vt = np.linalg.svd(W, full_matrices=False)
    A0, B0 = np.sqrt(S[:r])[:, None] * Vt[:r], U[:, :r] * np.sqrt(S[:r])
    return A0, B0, W - alpha / r * B0 @ A0


@answers.wrong("17.1", says="all in B0")
def values_on_one_side(W, r, alpha):
    U, S, Vt = np.linalg.svd(W, full_matrices=False)
    B0 = U[:, :r] * S[:r] * r / alpha
    return Vt[:r], B0, W - alpha / r * B0 @ Vt[:r]


@answers.wrong("17.1", says="it is transposed")
def columns_of_V(W, r, alpha):
    U, S, Vt = np.linalg.svd(W, full_matrices=False)
    root = np.sqrt(S[:r] * r / alpha)
    A0, B0 = (root[:, None] * Vt[:r]).T, U[:, :r] * root
    return A0, B0, W - alpha / r * B0 @ A0.T


@answers.wrong("17.1", says="the best part of rank r")
def random_directions(W, r, alpha):
    rng = np.random.default_rng(0)
    A0, B0 = rng.standard_normal((r, W.shape[1])), rng.standard_normal((len(W), r))
    return A0, B0, W - alpha / r * B0 @ A0


@answers.wrong("17.1", says="changes its first argument")
def takes_out_in_place(W, r, alpha):
    A0, B0, _ = from_the_gram_matrix(W.copy(), r, alpha)
    W -= alpha / r * B0 @ A0
    return A0, B0, W


@answers.right("17.1")
def from_the_library(W, r, alpha):
    return start_of_the_library(Pissa, "pissa", W, r, alpha)


@answers.right("17.1")
def from_the_gram_matrix(W, r, alpha):
    values, V = np.linalg.eigh(W.T @ W)  # ascending
    S, V = np.sqrt(np.maximum(values[::-1][:r], 0)), V[:, ::-1][:, :r]
    A0 = np.sqrt(S * r / alpha)[:, None] * V.T
    B0 = -(W @ -V) / np.sqrt(S * alpha / r)
    return [A0, B0, W - alpha / r * (B0 @ A0)]


@answers.wrong("17.2", says="s is left out of the rest")
def takes_out_without_s(W, r, alpha):
    Q, R = np.linalg.qr(W)
    return R[:r], Q[:, :r], W - Q[:, :r] @ R[:r]


@answers.wrong("17.2", says="PiSSA's start")
def singular_values(W, r, alpha):
    return start_of_the_library(Pissa, "pissa", W, r, alpha)


@answers.wrong("17.2", says="right angles")
def columns_of_W(W, r, alpha):
    B0 = W[:, :r]
    A0 = np.linalg.lstsq(B0, W, rcond=None)[0]
    return A0, B0, W - alpha / r * B0 @ A0


@answers.wrong("17.2", says="B0 has the shape")
def all_of_Q(W, r, alpha):
    Q, R = np.linalg.qr(W, mode="complete")
    return R[:r], Q, W - alpha / r * Q[:, :r] @ R[:r]


@answers.right("17.2")
def of_the_library(W, r, alpha):
    return start_of_the_library(Olora, "olora", W, r, alpha)


@answers.right("17.2")
def column_by_column(W, r, alpha):
    columns = []
    for column in W.T[:r]:
        for _ in range(2):
            column = column - sum((q @ column) * q for q in columns)
        columns.append(column / np.linalg.norm(column))
    B0 = np.stack(columns, axis=1)
    A0 = B0.T @ W
    return A0, B0, W - alpha / r * B0 @ A0


@answers.wrong("17.3", says="A has the higher rate")
def the_other_way(names, lr, ratio):
    return [lr * ratio if ".lora_A." in name else lr for name in names]


@answers.wrong("17.3", says="a B anywhere")
def any_B(names, lr, ratio):
    return [lr * ratio if "B" in name else lr for name in names]


@answers.wrong("17.3", says="expected (1,)")
def two_numbers(names, lr, ratio):
    return lr, lr * ratio


@answers.wrong("17.3", says="a module may be called so")
def without_dots(names, lr, ratio):
    return [lr * ratio if "lora_B" in name else lr for name in names]


@answers.right("17.3")
def by_parts(names, lr, ratio):
    return np.array([lr * ratio ** ("lora_B" in name.split(".")) for name in names])


@answers.right("17.3")
def by_what_is_an_A(names, lr, ratio):
    return tuple(lr if ".lora_A." in name else ratio * lr for name in names)


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
