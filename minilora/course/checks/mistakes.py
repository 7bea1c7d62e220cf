"""Known mistakes of lessons 0 to 12 that no change of the solution makes: {number: ((sentence, function), ...)}."""

import numpy as np


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def summed_from_the_end(g, shape):
    while g.ndim > len(shape):
        g = g.sum(axis=-1)
    return g.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)


def compared_from_the_front(g, shape):
    for axis, n in enumerate(shape):
        if g.shape[axis] != n:
            g = g.sum(axis=axis, keepdims=True)
    return g


def step_of_each_row(W, x, y, lr):
    for row, right in zip(x, y, strict=True):
        W = W - lr * np.outer(W @ row - right, row) / len(x)
    return W


def shares_exchanged(p, g, m, v, t, lr, beta1, beta2, eps, decay):
    m, v = (1 - beta1) * m + beta1 * g, (1 - beta2) * v + beta2 * g * g
    step = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return (1 - lr * decay) * p - lr * step, m, v


def with_the_old(p, g, m, v, t, lr, beta1, beta2, eps, decay):
    step = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return (1 - lr * decay) * p - lr * step, beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g


OTHER = {
    "1.2": (("both points are one array: `up = x` makes no copy of x", lambda f, x, eps: np.zeros(x.shape)),),
    "2.1": (
        ("the axes are compared from the front: NumPy lines them up at the end", compared_from_the_front),
        ("the axes that were put in front are looked for at the end", summed_from_the_end),
    ),
    "2.3": (
        (
            "p goes through softmax once more: it is a softmax already",
            lambda p, g: softmax(p) * (g - (softmax(p) * g).sum(axis=-1, keepdims=True)),
        ),
    ),
    "3.1": (
        (
            "only the sign of the gradient is used, as in the first step of Adam",
            lambda W, x, y, lr: W - lr * np.sign((x @ W.T - y).T @ x),
        ),
        ("there is a step after each row, with the new W for the next row: one step is asked for", step_of_each_row),
    ),
    "3.2": (
        ("the step is made with the old m and v: it needs the new ones", with_the_old),
        (
            "the shares are exchanged: 1 - beta of the old mean stays, and beta is the share of the new",
            shares_exchanged,
        ),
    ),
    "4.1": (
        (
            "the mean divides by d - 1: it is a mean of all d squares",
            lambda x, w, eps: w * x / np.sqrt((x * x).sum(axis=-1, keepdims=True) / max(1, x.shape[-1] - 1) + eps),
        ),
        (
            "the variance of a row is taken, without its mean: the mean square is of x itself",
            lambda x, w, eps: w * x / np.sqrt(x.var(axis=-1, keepdims=True) + eps),
        ),
        (
            "each row is divided by its largest number, not by its root mean square",
            lambda x, w, eps: w * x / (np.abs(x).max(axis=-1, keepdims=True) + eps),
        ),
        (
            "x is divided by its standard deviation, whose mean is taken away first: the mean square is of x itself",
            lambda x, w, eps: w * x / (x.std(axis=-1, keepdims=True) + eps),
        ),
        (
            "the mean of the absolute values is taken, without squares and root",
            lambda x, w, eps: w * x / (np.abs(x).mean(axis=-1, keepdims=True) + eps),
        ),
    ),
    "4.2": (
        (
            "only the value of the best key is taken: the softmax is a mean of all",
            lambda q, k, v: v[np.where(np.tri(len(q)) > 0, q @ k.T, -np.inf).argmax(axis=1)],
        ),
        (
            "a token sees itself and the one before it, not all the earlier ones",
            lambda q, k, v: (
                softmax(
                    np.where((np.tri(len(q)) > 0) & (np.tri(len(q), k=-2) == 0), q @ k.T / np.sqrt(q.shape[1]), -1e30)
                )
                @ v
            ),
        ),
    ),
    "5.2": (
        (
            "the directions that stay below the share are counted: the one that reaches it belongs to them",
            lambda s, share: int((np.cumsum(np.square(s)) / np.sum(np.square(s)) <= share).sum()),
        ),
    ),
    "8.1": (
        (
            "the rank is limited by the smaller side of each matrix: A and B have r rows and columns all the same",
            lambda shapes, r: sum(min(r, out, n) * (out + n) for out, n in shapes),
        ),
    ),
    "8.2": (
        (
            "frozen numbers get a gradient, m and v too: they do not learn",
            lambda frozen, trained, width: (frozen + trained) * (width + 12),
        ),
        (
            "width is divided by 8, as if it were bits: it is bytes",
            lambda frozen, trained, width: frozen * width // 8 + 16 * trained,
        ),
    ),
    "9.1": (
        (
            "the budget is shared equally among the matrices first: all have one rank, and the smaller ones leave some over",
            lambda shapes, budget: min(budget // len(shapes) // (out + n) for out, n in shapes),
        ),
    ),
    "10.1": (
        (
            "the upper 16 bits are returned as whole numbers: view them as float32 again",
            lambda x: x.view(np.uint32) >> 16,
        ),
    ),
    "10.2": (
        (
            "the same array is in every place of the list: each turn needs an array of its own",
            lambda W, updates, order: [W + updates[order[-1]]] * len(order),
        ),
    ),
    "12.1": (
        (
            "the update is brought into shape by reshape, which mixes rows and columns: it must be transposed",
            lambda W, A, B, s: W + s * (B @ A).reshape(W.shape),
        ),
    ),
}
