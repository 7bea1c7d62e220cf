"""Lesson 2: reverse mode for arrays."""

import numpy as np

from ..compare import Wrong, as_array, numeric_gradient, parts, same, same_shape, small
from ..judge import Exercise
from .mistakes import OTHER

# ---- 2.1


def broadcast_cases():
    rng = np.random.default_rng(21)
    return [
        (small(rng, 2), (2,)),
        (small(rng, 2, 1), (1, 1)),
        (small(rng, 3, 2), (2,)),
        (small(rng, 3, 2), (3, 1)),
        (small(rng, 2, 3, 4), (3, 1)),
        (small(rng, 2, 3, 2), (2, 1, 2)),
        (small(rng, 4, 1, 2), (1, 2)),
        (small(rng, 3, 2), ()),
        (small(rng, 1, 3), (1, 3)),
        (np.array(2.5), ()),
        *((small(rng, 3, 3), shape) for shape in ((3,), (3, 1), (1, 3), (1,), (3, 3))),
        *((small(rng, 2, 2, 2), shape) for shape in ((2, 1), (2, 2), (2, 1, 2), (1, 2, 1))),
    ]


def unbroadcast_shape(f, cases):
    for g, shape in cases:
        same_shape(as_array(f(g, shape), "the result", (g, shape)), shape, "the result", "", (g, shape))


def unbroadcast_nothing(f, cases):
    g, shape = cases[0]
    same(f(g, shape), g, "the result for an array that was not broadcast", (g, shape))


def unbroadcast_sums(f, cases):
    for g, shape in cases:
        x = np.zeros(shape)
        same(
            f(g, shape),
            numeric_gradient(lambda x, g=g: float((g * (x + np.zeros(g.shape))).sum()), x),
            "the result",
            (g, shape),
        )


# ---- 2.2


SIZES = ((1, 1, 1), (1, 2, 3), (4, 3, 2), (2, 3, 2), (2, 2, 3), (3, 3, 3), (2, 2, 2))


def matmul_cases():
    rng = np.random.default_rng(22)
    return [tuple(small(rng, *s) for s in ((m, k), (k, n), (m, n))) for m, k, n in SIZES]


def matmul_parts(f, cases):
    for arguments in cases:
        A, B, _ = arguments
        dA, dB = parts(f(*arguments), ("dA", "dB"), arguments)
        same_shape(as_array(dA, "dA", arguments), A.shape, "dA", "like A", arguments)
        same_shape(as_array(dB, "dB", arguments), B.shape, "dB", "like B", arguments)


def matmul_is_right(which):
    def check(f, cases):
        for A, B, G in cases:
            got = parts(f(A, B, G), ("dA", "dB"), (A, B, G))[which]
            if which == 0:
                numeric = numeric_gradient(lambda a, B=B, G=G: float((G * (a @ B)).sum()), A)
            else:
                numeric = numeric_gradient(lambda b, A=A, G=G: float((G * (A @ b)).sum()), B)
            same(got, numeric, ("dA", "dB")[which], (A, B, G), factors={"the number of rows": float(len(A))})

    return check


# ---- 2.3


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_cases():
    rng = np.random.default_rng(23)
    return [
        (np.array([[0.25, 0.75]]), np.array([[1.0, 2.0]])),
        (np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]]), small(rng, 2, 3)),
        (np.array([[0.4, 0.3, 0.2, 0.1], [0.05, 0.05, 0.1, 0.8], [0.25] * 4]), small(rng, 3, 4)),
        (np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.2, 0.2, 0.6]]), small(rng, 3, 3)),
        (np.array([[0.9, 0.1], [0.4, 0.6]]), small(rng, 2, 2)),
    ]


def softmax_shape(f, cases):
    for p, g in cases:
        same_shape(as_array(f(p, g), "dx", (p, g)), p.shape, "dx", "like p", (p, g))


def softmax_of_constant(f, cases):
    p, _ = cases[0]
    g = np.full(p.shape, 3.0)
    got = as_array(f(p, g), "dx", (p, g))
    if np.abs(got).max() > 1e-9:
        raise Wrong(
            f"dx is {got.tolist()} where every p has the same g; expected zeros: the p of a row always add up "
            "to 1, so the same g for all of them changes nothing",
            (p, g),
        )


def softmax_is_right(f, cases):
    for p, g in cases:
        same(f(p, g), numeric_gradient(lambda x, g=g: float((g * softmax(x)).sum()), np.log(p)), "dx", (p, g))


EXERCISES = (
    Exercise(
        "2.1",
        "unbroadcast",
        "Undo broadcasting",
        "medium",
        15,
        broadcast_cases,
        (
            ("returns an array that was not broadcast as it is", unbroadcast_nothing),
            ("has the requested shape", unbroadcast_shape),
            ("sums over the places where a value was repeated", unbroadcast_sums),
        ),
        (
            (
                "one of the repeated gradients is taken instead of their sum",
                lambda g, shape: _reduced(g, shape, lambda a, axis: a.take([0], axis)),
            ),
            (
                "the mean is taken instead of the sum",
                lambda g, shape: _reduced(g, shape, lambda a, axis: a.mean(axis=axis, keepdims=True)),
            ),
            (
                "the largest of the repeated gradients is taken instead of their sum",
                lambda g, shape: _reduced(g, shape, lambda a, axis: a.max(axis=axis, keepdims=True)),
            ),
            (
                "np.resize repeats or cuts the numbers: the gradients must be added up",
                lambda g, shape: np.resize(g, shape),
            ),
            ("everything is added up, whatever the shape", lambda g, shape: np.ones(shape) * g.sum()),
            ("one number is returned, the sum of all gradients", lambda g, shape: g.sum()),
            ("the first axis is always added up, whether it was repeated or not", lambda g, shape: g.sum(axis=0)),
            (
                "only the axes in front are added up, not those that were stretched from size 1",
                lambda g, shape: g.sum(axis=tuple(range(g.ndim - len(shape)))),
            ),
            (
                "the stretched axes are added up, and those in front are not",
                lambda g, shape: g.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True),
            ),
            (
                "the stretched axes are added up without keepdims=True, and those in front are not",
                lambda g, shape: g.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1)),
            ),
            (
                "the array is broadcast once more instead of added up",
                lambda g, shape: np.broadcast_to(g, np.broadcast_shapes(g.shape, shape)),
            ),
            ("a part of g is cut out instead of added up", lambda g, shape: g[tuple(slice(0, n) for n in shape)]),
            (
                "reshape sorts the numbers into other places before they are added up",
                lambda g, shape: g.reshape(-1, *shape).sum(axis=0),
            ),
            *OTHER["2.1"],
        ),
        (
            "A value that was used k times gets the sum of its k gradients. Along which axes was it repeated?",
            "Two kinds of axes: those that broadcasting put in front (g has more axes than shape), and those where shape "
            "has a 1 and g has more. Sum over the first kind; over the second with keepdims=True.",
            "g = g.sum(axis=tuple(range(g.ndim - len(shape)))); then for every i with shape[i] == 1: "
            "g = g.sum(axis=i, keepdims=True)",
        ),
    ),
    Exercise(
        "2.2",
        "matmul_backward",
        "The two gradients of a product",
        "medium",
        10,
        matmul_cases,
        (
            ("returns dA and dB in the shapes of A and B", matmul_parts),
            ("dA equals central differences", matmul_is_right(0)),
            ("dB equals central differences", matmul_is_right(1)),
        ),
        (
            ("dA and dB are returned in the other order", lambda A, B, G: (A.T @ G, G @ B.T)),
            ("the factors of dB are swapped: Gᵀ A is the gradient of Bᵀ", lambda A, B, G: (G @ B.T, G.T @ A)),
            ("the incoming gradient G is left out", lambda A, B, G: (np.ones_like(G) @ B.T, A.T @ np.ones_like(G))),
            ("A and B themselves are returned, exchanged: a gradient needs the product with G", lambda A, B, G: (B, A)),
            (
                "A and B are returned transposed and exchanged: a gradient needs the product with G",
                lambda A, B, G: (B.T, A.T),
            ),
            ("G is left out of dB", lambda A, B, G: (G @ B.T, A.T @ np.ones_like(G))),
            ("G is left out of dA", lambda A, B, G: (np.ones_like(G) @ B.T, A.T @ G)),
            (
                "G is divided by a matrix (its inverse): a gradient multiplies with the transposed matrix",
                lambda A, B, G: (G @ np.linalg.pinv(B), np.linalg.pinv(A) @ G),
            ),
            ("nothing is transposed", lambda A, B, G: (G @ B, A @ G)),
            ("A is not transposed in dB", lambda A, B, G: (G @ B.T, A @ G)),
            ("B is not transposed in dA", lambda A, B, G: (G @ B, A.T @ G)),
            ("both gradients are divided by the number of rows", lambda A, B, G: (G @ B.T / len(G), A.T @ G / len(G))),
            (
                "G is added up to one number first",
                lambda A, B, G: (G.sum() * np.ones_like(A) * B.sum(1), A.sum(0)[:, None] * np.ones_like(B) * G.sum()),
            ),
        ),
        (
            "dA has the shape of A. There is one product of G and B (one of them transposed) with that shape.",
            "Y = A B with A (m, k), B (k, n), G (m, n). G times what gives (m, k)? What times G gives (k, n)?",
            "return G @ B.T, ... and for dB the transposed A is on the left",
        ),
    ),
    Exercise(
        "2.3",
        "softmax_backward",
        "The backward of softmax",
        "hard",
        20,
        softmax_cases,
        (
            ("has the shape of p", softmax_shape),
            ("is zero when every g of a row is the same", softmax_of_constant),
            ("equals central differences", softmax_is_right),
        ),
        (
            ("the coupling is forgotten: raising one x lowers all the other p", lambda p, g: g * p),
            ("only the diagonal of the Jacobian is used, p (1 - p)", lambda p, g: g * p * (1 - p)),
            ("the sum runs over the whole array instead of each row", lambda p, g: p * (g - (g * p).sum())),
            (
                "the sum runs down the columns instead of along each row",
                lambda p, g: p * (g - (g * p).sum(axis=0, keepdims=True)),
            ),
            ("the sum of g is subtracted without its weights p", lambda p, g: p * (g - g.sum(axis=-1, keepdims=True))),
            (
                "the mean of g is subtracted instead of its mean weighted with p",
                lambda p, g: p * (g - g.mean(axis=-1, keepdims=True)),
            ),
            ("g is subtracted from p: that is the gradient of another function", lambda p, g: p - g),
            ("p is subtracted from g: that is the rule for a target, not for any g", lambda p, g: p * (g - p)),
            (
                "p alone is squared and added up, and g multiplies the rest: the sum must be over g · p",
                lambda p, g: g * (p - (p * p).sum(axis=-1, keepdims=True)),
            ),
            (
                "a softmax is applied to p again: p is the result already",
                lambda p, g: np.exp(p) / np.exp(p).sum(axis=-1, keepdims=True) * g,
            ),
            ("g is taken for the target: p - g is the gradient of a cross-entropy", lambda p, g: (p - g) * p),
            ("the factor p in front is left out", lambda p, g: g - (g * p).sum(axis=-1, keepdims=True)),
            ("the p of the row is subtracted instead of the sum of g · p", lambda p, g: p * g - p),
            ("the coupling term has the wrong sign", lambda p, g: p * g + p * (g * p).sum(axis=-1, keepdims=True)),
            ("g is left out: only the diagonal p (1 - p) is returned", lambda p, g: p * (1 - p)),
            ("the logarithm is taken: that belongs to the loss, not to the softmax", lambda p, g: np.log(p) * g),
            *OTHER["2.3"],
        ),
        (
            "Each p_i depends on every x_j of its row: the derivative of p_i by x_j is p_i (1 - p_i) for i = j, else "
            "-p_i p_j.",
            "dx_j = Σ_i g_i dp_i/dx_j. Write the two cases as one: p_i (δ_ij - p_j), and take p_j out of the sum.",
            "dx = p * (g - s), where s = the sum of g · p over the last axis (keepdims=True)",
        ),
    ),
)


def _reduced(g, shape, reduce):
    while g.ndim > len(shape):
        g = np.squeeze(reduce(g, 0), axis=0)
    for i, n in enumerate(shape):
        if n == 1 and g.shape[i] != 1:
            g = reduce(g, i)
    return g
