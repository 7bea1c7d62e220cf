"""Lesson 14: whether a scaled step is taken, and a cross-entropy in chunks."""

import numpy as np

from ..compare import Wrong, as_array, numeric_gradient, parts, plain, same, same_shape, small
from ..judge import Exercise
from .mistakes_of_the_family import OTHER

# ---- 14.1


def unscale_cases():
    rng = np.random.default_rng(141)
    bad = [small(rng, 3), small(rng, 4), small(rng, 2, 3)]
    bad[0][1], bad[1][3], bad[2][1, 0] = np.inf, np.nan, -np.inf
    return [
        (small(rng, 1), 4.0, 0, 3),
        (small(rng, 2), 8.0, 1, 4),
        (bad[0], 8.0, 2, 4),
        (bad[1], 0.5, 1, 3),
        (bad[2], 2.0, 0, 2),
        (small(rng, 3), 16.0, 2, 3),
        (small(rng, 2, 3), 1024.0, 0, 1),
        (np.array([np.inf, np.nan]), 4.0, 1, 3),
    ]


def unscaled(g, scale, good, interval):
    if not np.isfinite(g).all():
        return False, np.zeros(g.shape), scale / 2, 0
    grown = good + 1 == interval
    return True, g / scale, scale * 2 if grown else scale, 0 if grown else good + 1


def answer_of(f, c):
    taken, g, scale, good = parts(f(*c), ("taken", "g", "scale", "good"), c)
    if np.ndim(taken) or taken not in (True, False):
        raise Wrong(f"taken is {taken!r}, expected True or False", c)
    return bool(taken), g, scale, good


def finite(c):
    return np.isfinite(c[0]).all()


def decision(f, cases):
    for c in cases:
        taken = answer_of(f, c)[0]
        if not taken and finite(c):
            raise Wrong("taken is False, but every element is finite", c)
        if taken and not finite(c):
            bad = next(v for v in c[0].ravel() if not np.isfinite(v))
            raise Wrong(f"taken is True, but an element is {bad}: one that is inf, -inf or nan is enough to skip", c)


def gradient_taken(f, cases):
    for c in filter(finite, cases):
        same(answer_of(f, c)[1], c[0] / c[1], "g", c, factors={"scale": c[1], "scale²": c[1] ** 2})


def gradient_skipped(f, cases):
    for c in cases:
        if not finite(c):
            same(answer_of(f, c)[1], np.zeros(c[0].shape), "g of a skipped step", c)


def scale_and_good(f, cases):
    for c in cases:
        _, _, scale, good = answer_of(f, c)
        same(scale, unscaled(*c)[2], "the new scale", c)
        same(good, unscaled(*c)[3], "the new good", c)


def unscale_mistaken(
    over=lambda g, scale, new: g / scale,
    skipped=lambda scale, good: (scale / 2, 0),
    grows=lambda scale, good, interval: (scale * 2, 0) if good + 1 == interval else (scale, good + 1),
    zeros=np.zeros_like,
):
    """The decision with one thing changed."""

    def function(g, scale, good, interval):
        if not np.isfinite(g).all():
            return False, zeros(g), *skipped(scale, good)
        new = grows(scale, good, interval)
        return True, over(g, scale, new[0]), *new

    return function


# ---- 14.2

# N, d, V, size: one row; whole chunks; an odd last chunk; a chunk larger than N; a square W after the others
SIZES = ((1, 1, 2, 1), (2, 2, 3, 1), (4, 2, 3, 2), (5, 3, 4, 2), (3, 2, 5, 8), (7, 3, 6, 3), (5, 4, 4, 2))


def loss_cases():
    rng = np.random.default_rng(142)
    cases = [(small(rng, N, d), small(rng, V, d), rng.integers(0, V, N), size) for N, d, V, size in SIZES]
    large = np.array([[20.0, -3.0], [1.0, 40.0], [-25.0, 2.0]])
    return [*cases, (large, np.array([[25.0, 1.0], [2.0, 25.0], [-30.0, 3.0]]), np.array([0, 2, 1]), 2)]


def loss_alone(h, W, targets):
    z = h @ W.T
    top = z.max(axis=1)
    return float((top + np.log(np.exp(z - top[:, None]).sum(axis=1)) - z[np.arange(len(h)), targets]).mean())


def loss_parts(f, c):
    return parts(f(*c), ("loss", "dh"), c)


def loss_shapes(f, cases):
    for c in cases[:-1]:
        loss, dh = loss_parts(f, c)
        same_shape(as_array(loss, "loss", c), (), "loss", "a number", c)
        same_shape(as_array(dh, "dh", c), c[0].shape, "dh", "(N, d), like h", c)


def one_chunk(f, cases):
    for h, W, targets, _ in cases[:-1]:
        c = (h, W, targets, len(h))
        same(loss_parts(f, c)[0], loss_alone(h, W, targets), "loss for one chunk", c, factors={"N": float(len(h))})


def loss_is_right(f, cases):
    for c in cases[:-1]:
        same(loss_parts(f, c)[0], loss_alone(*c[:3]), "loss", c, factors={"N": float(len(c[0])), "size": float(c[3])})


def dh_is_right(f, cases):
    for c in cases[:-1]:
        h, W, targets, size = c
        numeric = numeric_gradient(lambda h: loss_alone(h, W, targets), h)  # noqa: B023
        same(loss_parts(f, c)[1], numeric, "dh", c, "(N, d)", {"N": float(len(h)), "size": float(size)})


def large_logits(f, cases):
    c = cases[-1]
    with np.errstate(all="ignore"):
        loss, dh = loss_parts(f, c)
    if not (np.isfinite(np.asarray(plain(loss), float)).all() and np.isfinite(np.asarray(plain(dh), float)).all()):
        raise Wrong(
            "with logits up to 1,000 e^z overflows: subtract each row's largest logit from the row first",
            c,
            "e^z overflows",
        )
    same(loss, loss_alone(*c[:3]), "loss, with logits up to 1,000", c)
    same(dh, chunked()(*c)[1], "dh, with logits up to 1,000", c)


def one_chunk_at_a_time(f, cases):
    rng = np.random.default_rng(143)
    N, d, V, size = 1000, 2, 600, 10
    taken = f.peak(small(rng, N, d), small(rng, V, d), rng.integers(0, V, N), size)
    if taken > 2_000_000:  # a list of rows has 0.4 MB beside its numbers
        raise Wrong(
            f"a call with {N:,} rows, {V} tokens and chunks of {size} takes {taken / 1e3:,.0f} KB: the logits of all rows "
            f"are {8 * N * V / 1e3:,.0f} KB, those of a chunk {8 * size * V / 1e3:.1f} KB",
            None,
            "the logits of all rows are made at once, or kept",
        )


def chunked(
    loss_over=lambda N, rows: N,
    dh_over=lambda N, rows: N,
    onehot=1.0,
    share=lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True),
    sign=1.0,
    last=True,
):
    """The chunked loss with one thing changed."""

    def function(h, W, targets, size):
        N, total, dh = len(h), 0.0, np.zeros(h.shape)
        for start in range(0, N, size):
            rows = slice(start, start + size)
            z = h[rows] @ W.T
            if len(z) < size and not last and start:
                break
            at = np.arange(len(z)), targets[rows]
            z = z - z.max(axis=1, keepdims=True)
            total += (np.log(np.exp(z).sum(axis=1)) - z[at]).sum() / loss_over(N, len(z))
            p = share(z)
            p[at] -= onehot
            dh[rows] = sign * p @ W / dh_over(N, len(z))
        return total, dh

    return function


def mean_of_means(h, W, targets, size):
    _, dh = chunked()(h, W, targets, size)
    chunks = [slice(start, start + size) for start in range(0, len(h), size)]
    return float(np.mean([loss_alone(h[rows], W, targets[rows]) for rows in chunks])), dh


EXERCISES = (
    Exercise(
        "14.1",
        "unscale",
        "Take the step, or skip it",
        "medium",
        15,
        unscale_cases,
        (
            ("takes a step of finite gradients and skips the others", decision),
            ("gives the true gradient of a step that is taken", gradient_taken),
            ("gives zeros for a skipped step", gradient_skipped),
            ("halves, keeps or doubles the scale, and counts good steps", scale_and_good),
        ),
        (
            ("the gradient is not divided by the scale", unscale_mistaken(over=lambda g, scale, new: g)),
            ("the gradient is multiplied by the scale", unscale_mistaken(over=lambda g, scale, new: g * scale)),
            (
                "the gradient is divided by the new scale; the backward used the old one",
                unscale_mistaken(over=lambda g, scale, new: g / new),
            ),
            ("the scale is kept after a skipped step", unscale_mistaken(skipped=lambda scale, good: (scale, 0))),
            ("the scale is doubled after a skipped step", unscale_mistaken(skipped=lambda scale, good: (scale * 2, 0))),
            ("good is kept after a skipped step", unscale_mistaken(skipped=lambda scale, good: (scale / 2, good))),
            (
                "a skipped step counts as a good one",
                unscale_mistaken(skipped=lambda scale, good: (scale / 2, good + 1)),
            ),
            (
                "the scale does not grow when this step completes the interval: this step counts too",
                unscale_mistaken(grows=lambda scale, good, interval: (scale, good + 1)),
            ),
            (
                "good is not set back when the scale grows",
                unscale_mistaken(
                    grows=lambda scale, good, interval: (scale * 2 if good + 1 == interval else scale, good + 1)
                ),
            ),
            (
                "the scale grows after every good step",
                unscale_mistaken(grows=lambda scale, good, interval: (scale * 2, 0)),
            ),
            ("the broken gradient is returned for a skipped step", unscale_mistaken(zeros=lambda g: np.nan_to_num(g))),
            *OTHER["14.1"],
        ),
        (
            "First the question: is every element finite? The answer decides everything else.",
            "np.isfinite is False for inf, -inf and nan. Divide by the scale that the backward used, before you change it.",
            "if not np.isfinite(g).all(): return False, zeros, scale / 2, 0; else good + 1, and double at interval",
        ),
    ),
    Exercise(
        "14.2",
        "chunked_loss",
        "A loss in chunks",
        "hard",
        25,
        loss_cases,
        (
            ("returns a number, and dh in the shape of h", loss_shapes),
            ("the loss is right for one chunk", one_chunk),
            ("the loss is right for any chunks", loss_is_right),
            ("dh equals central differences", dh_is_right),
            ("holds for logits up to 1,000", large_logits),
            ("has the logits of one chunk at a time", one_chunk_at_a_time),
        ),
        (
            (
                "the means of the chunks are averaged; the last chunk is shorter and would count too much",
                mean_of_means,
            ),
            ("the losses of the chunks' means are added", chunked(loss_over=lambda N, rows: rows)),
            ("the losses are added, without dividing by N", chunked(loss_over=lambda N, rows: 1)),
            ("dh is not divided by N", chunked(dh_over=lambda N, rows: 1)),
            ("dh is divided by the rows of its chunk, not by N", chunked(dh_over=lambda N, rows: rows)),
            ("the 1 at the target is not taken away", chunked(onehot=0.0)),
            ("dh uses e^z, which is not divided by its sum", chunked(share=lambda z: np.exp(z))),
            ("dh has the wrong sign", chunked(sign=-1.0)),
            ("the last, shorter chunk is left out", chunked(last=False)),
            (
                "the two results are returned in the other order",
                lambda *c: chunked()(*c)[::-1],
            ),
            *OTHER["14.2"],
        ),
        (
            "Write it for all rows first. Then put a loop around it, and ask of each line what belongs to the whole.",
            "Subtracting a row's largest logit changes neither its loss nor its softmax. Divide by N, not by the chunk.",
            "z = h[rows] @ W.T; z -= row maxima; p = softmax; p[range, targets[rows]] -= 1; dh[rows] = p @ W / N",
        ),
    ),
)
