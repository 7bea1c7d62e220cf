"""Lesson 3: a step of gradient descent on a matrix, and a step of AdamW."""

import numpy as np

from ..compare import as_array, numeric_gradient, parts, same, same_shape, small
from ..judge import Exercise
from .mistakes import OTHER

# N, in, out, lr; a square case after the others, where W and Wᵀ both fit
SIZES = ((1, 1, 1, 0.1), (1, 2, 1, 0.1), (2, 1, 3, 0.2), (4, 3, 2, 0.05), (7, 2, 5, 0.3), (5, 3, 3, 0.1))

# ---- 3.1


def matrix_cases():
    rng = np.random.default_rng(31)
    return [(small(rng, out, n), small(rng, N, n), small(rng, N, out), lr) for N, n, out, lr in SIZES]


def matrix_shape(f, cases):
    for c in cases:
        same_shape(as_array(f(*c), "the new W", c), c[0].shape, "the new W", "(out, in), like W", c)


def right_answers_stay(f, cases):
    for W, x, _, lr in cases:
        c = (W, x, x @ W.T, lr)
        same(f(*c), W, "the new W where every prediction is right already", c)


def zero_rate_stays(f, cases):
    for W, x, y, _ in cases:
        c = (W, x, y, 0.0)
        same(f(*c), W, "the new W for lr = 0", c)


def loss_of(W, x, y):
    return float(((x @ W.T - y) ** 2).sum() / 2 / len(x))


def matrix_is_right(f, cases):
    for c in cases:
        W, x, y, lr = c
        gradient = numeric_gradient(lambda w: loss_of(w, x, y), W)  # noqa: B023
        got = as_array(f(*c), "the new W", c)
        same(
            got - W,
            -lr * gradient,
            "the step (the new W minus W)",
            c,
            "(out, in)",
            {"N": float(len(x)), "the rate": lr},
        )


def matrix_mistaken(sign=-1.0, over=lambda x, y: len(x), times=lambda lr: lr, back=lambda W, step: W + step):
    """The step with one thing changed: its sign, what it is divided by, the rate, or what is returned."""

    def function(W, x, y, lr):
        return back(W, sign * times(lr) * (x @ W.T - y).T @ x / over(x, y))

    return function


# ---- 3.2

# shape, t, lr, beta1, beta2, eps, decay
STEPS = (
    ((1,), 1, 0.1, 0.9, 0.99, 0.0, 0.0),
    ((2,), 1, 0.5, 0.5, 0.75, 0.25, 0.0),
    ((3,), 2, 0.1, 0.9, 0.99, 0.01, 0.0),
    ((2, 3), 5, 0.2, 0.8, 0.95, 0.1, 0.5),
    ((3, 3), 7, 0.3, 0.7, 0.6, 0.2, 0.25),
)


def adam_cases():
    rng = np.random.default_rng(32)
    cases = []
    for shape, t, *settings in STEPS:
        old = t > 1  # before the first step both means are zero
        m, v = small(rng, *shape) * old, abs(small(rng, *shape)) * old
        cases.append((small(rng, *shape), small(rng, *shape), m, v, t, *settings))
    return cases


def adamw(p, g, m, v, t, lr, beta1, beta2, eps, decay):
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
    return (1 - lr * decay) * p - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


def adam_parts(f, c):
    return parts(f(*c), ("p", "m", "v"), c)


def adam_shapes(f, cases):
    for c in cases:
        for part, name in zip(adam_parts(f, c), ("p", "m", "v"), strict=True):
            same_shape(as_array(part, f"the new {name}", c), c[0].shape, f"the new {name}", "like p", c)


def means_are_right(f, cases):
    for c in cases:
        _, m, v = adam_parts(f, c)
        same(m, adamw(*c)[1], "the new m", c, factors={"1 - beta1": 1 - c[6], "1 - beta1ᵗ": 1 - c[6] ** c[4]})
        same(v, adamw(*c)[2], "the new v", c, factors={"1 - beta2": 1 - c[7], "1 - beta2ᵗ": 1 - c[7] ** c[4]})


def first_step_is_the_rate(f, cases):
    p, g, m, v, t, lr, *_ = c = cases[0]
    step = as_array(adam_parts(f, c)[0], "the new p", c) - p
    same(step, -lr * np.sign(g), "the first step for eps = 0 and no decay (the rate, against the gradient)", c)


def first_step_of_any_size(f, cases):
    p, g, *rest = cases[0]
    for size in (1e-3, 1e3):
        c = (p, size * g, *rest)
        step = as_array(adam_parts(f, c)[0], "the new p", c) - p
        same(step, -rest[3] * np.sign(g), f"the first step for a gradient {size:g} times as large", c)


def p_is_right(f, cases):
    for c in cases:
        same(adam_parts(f, c)[0], adamw(*c)[0], "the new p", c)


def only_decay(f, cases):
    for c in cases[-2:]:
        p, zero = c[0], np.zeros(c[0].shape)
        c = (p, zero, zero, zero, *c[4:])
        same(adam_parts(f, c)[0], (1 - c[5] * c[9]) * p, "the new p for a gradient that was always zero", c)


def adam_mistaken(
    square=lambda g: g * g,
    correct=lambda m, b, t: m / (1 - b**t),
    root=lambda v, eps: np.sqrt(v) + eps,
    decayed=lambda p, lr, decay: (1 - lr * decay) * p,
    rate=lambda lr: lr,
    betas=lambda b1, b2: (b1, b2),
    gradient=lambda g, p, decay: g,
    stored=lambda m, m_hat: m,
    order=slice(None),
):
    """AdamW with one thing changed."""

    def function(p, g, m, v, t, lr, beta1, beta2, eps, decay):
        b1, b2 = betas(beta1, beta2)
        g = gradient(g, p, decay)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * square(g)
        m_hat, v_hat = correct(m, b1, t), correct(v, b2, t)
        new = decayed(p, lr, decay) - rate(lr) * m_hat / root(v_hat, eps)
        return (new, stored(m, m_hat), stored(v, v_hat))[order]

    return function


def whole_gradient(p, g, m, v, t, lr, beta1, beta2, eps, decay):  # m + g instead of a mean
    m, v = beta1 * m + g, beta2 * v + g * g
    return (1 - lr * decay) * p - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


def exchanged(p, g, m, v, t, lr, beta1, beta2, eps, decay):  # the new part has the share beta
    return adamw(p, g, m, v, t, lr, 1 - beta1, 1 - beta2, eps, decay)


def decay_of_the_result(*c):
    p, g, m, v, t, lr, beta1, beta2, eps, _ = c
    new, m, v = adamw(p, g, m, v, t, lr, beta1, beta2, eps, 0.0)
    return (1 - c[5] * c[9]) * new, m, v


def descent(p, g, m, v, t, lr, beta1, beta2, eps, decay):
    _, m, v = adamw(p, g, m, v, t, lr, beta1, beta2, eps, decay)
    return (1 - lr * decay) * p - lr * g, m, v


EXERCISES = (
    Exercise(
        "3.1",
        "matrix_step",
        "One step on a matrix",
        "medium",
        10,
        matrix_cases,
        (
            ("has the shape of W", matrix_shape),
            ("stays where every prediction is right", right_answers_stay),
            ("stays for a rate of zero", zero_rate_stays),
            ("equals W - lr dW, with dW by central differences", matrix_is_right),
        ),
        (
            ("the step goes uphill: W + lr dW", matrix_mistaken(sign=1.0)),
            ("the gradients of the N rows are added, without dividing by N", matrix_mistaken(over=lambda x, y: 1)),
            (
                "the step is divided by all N · out numbers; the mean is over the N rows",
                matrix_mistaken(over=lambda x, y: y.size),
            ),
            (
                "the step is twice as long: the ½ of the loss cancels the 2 of the square",
                matrix_mistaken(over=lambda x, y: len(x) / 2),
            ),
            ("the step is half as long: the ½ is used twice", matrix_mistaken(over=lambda x, y: 2 * len(x))),
            ("the rate lr is left out", matrix_mistaken(times=lambda lr: 1.0)),
            ("lr is squared", matrix_mistaken(times=lambda lr: lr * lr)),
            ("only the step is returned, without W", matrix_mistaken(back=lambda W, step: step)),
            (
                "the gradient dW is returned, without a step",
                lambda W, x, y, lr: (x @ W.T - y).T @ x / len(x),
            ),
            (
                "W is multiplied by the step, not moved by it",
                matrix_mistaken(back=lambda W, step: W * step),
            ),
            (
                "the target y is left out: this step goes toward predictions of zero",
                lambda W, x, y, lr: W - lr * (x @ W.T).T @ x / len(x),
            ),
            (
                "y is added to the prediction: the error is x Wᵀ - y",
                lambda W, x, y, lr: W - lr * (x @ W.T + y).T @ x / len(x),
            ),
            (
                "the error is not multiplied with x: a weight's gradient is the error times the input that it saw",
                lambda W, x, y, lr: W - lr * (x @ W.T - y).mean(axis=0)[:, None] * np.ones(W.shape),
            ),
            *OTHER["3.1"],
        ),
        (
            "First the error of each row, (N, out). Then its gradient for W, as in lesson 2's product.",
            "The error is x Wᵀ - y. dW has the shape (out, in): the error leaves one way, x the other; the mean divides by N.",
            "error = x @ W.T - y; return W - lr * (error transposed, times x, over the number of rows)",
        ),
    ),
    Exercise(
        "3.2",
        "adamw_step",
        "One step of AdamW",
        "hard",
        20,
        adam_cases,
        (
            ("returns p, m and v in the shape of p", adam_shapes),
            ("m and v are the running means", means_are_right),
            ("the first step is the rate", first_step_is_the_rate),
            ("the first step is the rate for a gradient of any size", first_step_of_any_size),
            ("p moves by the formula", p_is_right),
            ("p only decays where the gradient was always zero", only_decay),
        ),
        (
            ("the correction 1 - betaᵗ is left out", adam_mistaken(correct=lambda m, b, t: m)),
            (
                "the correction is 1 - beta in every step, without the power t",
                adam_mistaken(correct=lambda m, b, t: m / (1 - b)),
            ),
            (
                "t is counted one too high in the correction",
                adam_mistaken(correct=lambda m, b, t: m / (1 - b ** (t + 1))),
            ),
            (
                "m and v are multiplied by 1 - betaᵗ, not divided by it",
                adam_mistaken(correct=lambda m, b, t: m * (1 - b**t)),
            ),
            (
                "the corrected m and v are returned: the next step would correct them again",
                adam_mistaken(stored=lambda m, m_hat: m_hat),
            ),
            ("v is the mean of the gradients, not of their squares", adam_mistaken(square=abs)),
            ("the root of v is left out", adam_mistaken(root=lambda v, eps: v + eps)),
            ("eps is added inside the root", adam_mistaken(root=lambda v, eps: np.sqrt(v + eps))),
            ("eps is left out", adam_mistaken(root=lambda v, eps: np.sqrt(v))),
            ("beta1 and beta2 are exchanged", adam_mistaken(betas=lambda b1, b2: (b2, b1))),
            ("beta1 is used for both means", adam_mistaken(betas=lambda b1, b2: (b1, b1))),
            ("the new gradient has the share beta; it has 1 - beta", exchanged),
            ("the whole gradient is added to m and v; its share is 1 - beta", whole_gradient),
            ("decay is left out", adam_mistaken(decayed=lambda p, lr, decay: p)),
            ("decay is not multiplied by the rate", adam_mistaken(decayed=lambda p, lr, decay: (1 - decay) * p)),
            ("p grows by the decay", adam_mistaken(decayed=lambda p, lr, decay: (1 + lr * decay) * p)),
            ("decay acts on p after the step, and so on the step too", decay_of_the_result),
            (
                "decay is added to the gradient, as in Adam with an L2 penalty: AdamW keeps it out of m and v",
                adam_mistaken(gradient=lambda g, p, decay: g + decay * p, decayed=lambda p, lr, decay: p),
            ),
            ("the step goes uphill", adam_mistaken(rate=lambda lr: -lr)),
            ("the rate lr is left out of the step", adam_mistaken(rate=lambda lr: 1.0)),
            ("p moves along the gradient itself, not along the means", descent),
            ("p, m and v are returned in another order", adam_mistaken(order=slice(None, None, -1))),
            *OTHER["3.2"],
        ),
        (
            "Five lines, one for each part. A running mean: share of the old, rest of the new.",
            "m = beta1 m + (1 - beta1) g, and v likewise with g². Correct copies of them, and return the others.",
            "p = (1 - lr * decay) * p - lr * (m over 1 - beta1**t) / (root of (v over 1 - beta2**t), plus eps)",
        ),
    ),
)
