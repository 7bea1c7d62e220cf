"""Lesson 11: two adapters as one."""

import numpy as np

from ..compare import Wrong, as_array, parts, same, small
from ..judge import Exercise


def stack_cases():
    rng = np.random.default_rng(101)
    sizes = (  # out, in, r1, r2, s1, s2
        (1, 2, 1, 1, 3.0, 0.7), (2, 3, 2, 2, 1.7, -0.6), (4, 3, 1, 2, 0.4, 2.5), (3, 7, 3, 2, -1.3, 0.8),
        (6, 7, 1, 2, 2.0, -1.5), (3, 3, 2, 2, 2.5, 0.3), (2, 2, 2, 2, 0.6, 1.9),
    )  # fmt: skip
    return [
        (small(rng, r1, n), small(rng, out, r1), s1, small(rng, r2, n), small(rng, out, r2), s2)
        for out, n, r1, r2, s1, s2 in sizes
    ]


def factors_fit(f, cases):
    for c in cases:
        A, B = (as_array(v, name, c) for v, name in zip(parts(f(*c), ("A", "B"), c), ("A", "B"), strict=True))
        out, n = c[1].shape[0], c[0].shape[1]
        if A.ndim != 2 or B.ndim != 2 or A.shape[1] != n or B.shape[0] != out or A.shape[0] != B.shape[1]:
            raise Wrong(
                f"A has the shape {A.shape} and B {B.shape}; expected A (r, {n}) and B ({out}, r) with one r", c
            )


def rank_is_small(f, cases):
    for c in cases:
        r, most = len(as_array(parts(f(*c), ("A", "B"), c)[0], "A", c)), len(c[0]) + len(c[3])
        if r > most:
            raise Wrong(
                f"the rank of the new adapter is {r}; {most} is enough for adapters of ranks {len(c[0])} and "
                f"{len(c[3])}",
                c,
                "the rank is larger than needed",
            )


def product(f, c):
    A, B = parts(f(*c), ("A", "B"), c)
    return as_array(B, "B", c) @ as_array(A, "A", c)


def second_is_zero(f, cases):
    for A1, B1, s1, A2, B2, s2 in cases:
        c = (A1, B1, s1, A2, np.zeros(B2.shape), s2)
        same(
            product(f, c),
            s1 * B1 @ A1,
            "the update B A of the new adapter, where B2 is zero,",
            c,
            factors={"s1": abs(s1), "s1²": s1 * s1, "√s1": abs(s1) ** 0.5},
        )


def update_is_the_sum(f, cases):
    for c in cases:
        A1, B1, s1, A2, B2, s2 = c
        same(product(f, c), s1 * B1 @ A1 + s2 * B2 @ A2, "the update B A of the new adapter", c)


def stacked(s_A=lambda s: 1.0, s_B=lambda s: s):
    return lambda A1, B1, s1, A2, B2, s2: (
        np.vstack([s_A(s1) * A1, s_A(s2) * A2]),
        np.hstack([s_B(s1) * B1, s_B(s2) * B2]),
    )


def update_of(pair):  # several pairs have one update
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        return pair
    A, B = map(np.asarray, pair)
    return (len(A), B @ A) if np.shape(B)[1:] == np.shape(A)[:1] else pair


EXERCISES = (
    Exercise(
        "11.1",
        "stack_adapters",
        "Two adapters as one",
        "medium",
        15,
        stack_cases,
        (
            ("A and B of one adapter", factors_fit),
            ("has no larger rank than needed", rank_is_small),
            ("is the first adapter where the second is zero", second_is_zero),
            ("its update is the sum of both", update_is_the_sum),
        ),
        (
            (
                "the As are added and the Bs are added: (B1 + B2) (A1 + A2) has two terms too many",
                lambda A1, B1, s1, A2, B2, s2: (A1 + A2, s1 * B1 + s2 * B2),
            ),
            (
                "the As are added and the Bs are added, with the roots of the scales: two terms too many",
                lambda A1, B1, s1, A2, B2, s2: (s1**0.5 * A1 + s2**0.5 * A2, s1**0.5 * B1 + s2**0.5 * B2),
            ),
            ("the scales are left out", stacked(s_B=lambda s: 1.0)),
            ("the scales are applied to A and to B, so they are squared", stacked(s_A=lambda s: s)),
            ("only the first adapter is used", lambda A1, B1, s1, A2, B2, s2: (A1, s1 * B1)),
            (
                "the parts of A and of B are not in the same order",
                lambda A1, B1, s1, A2, B2, s2: (np.vstack([A2, A1]), np.hstack([s1 * B1, s2 * B2])),
            ),
            (
                "As side by side and Bs one below the other: it is the other way round",
                lambda A1, B1, s1, A2, B2, s2: (np.hstack([A1, A2]), np.vstack([s1 * B1, s2 * B2])),
            ),
            (
                "the two Bs are in another order than the two As",
                lambda A1, B1, s1, A2, B2, s2: (np.vstack([A1, A2]), np.hstack([s2 * B2, s1 * B1])),
            ),
            (
                "the finished update is returned as B: B must be (out, r)",
                lambda A1, B1, s1, A2, B2, s2: (A1, s1 * B1 @ A1 + s2 * B2 @ A2),
            ),
            (
                "A is the identity and B the finished update: that has the full rank",
                lambda A1, B1, s1, A2, B2, s2: (np.eye(A1.shape[1]), s1 * B1 @ A1 + s2 * B2 @ A2),
            ),
            (
                "B is the identity and A the finished update: that has the full rank",
                lambda A1, B1, s1, A2, B2, s2: (s1 * B1 @ A1 + s2 * B2 @ A2, np.eye(len(B1))),
            ),
            (
                "one finished update is returned instead of A and B",
                lambda A1, B1, s1, A2, B2, s2: s1 * B1 @ A1 + s2 * B2 @ A2,
            ),
            (
                "s1 and s2 are exchanged",
                lambda A1, B1, s1, A2, B2, s2: (np.vstack([A1, A2]), np.hstack([s2 * B1, s1 * B2])),
            ),
            ("the signs of the scales are lost", stacked(s_B=abs)),  # the roots of their sizes on both sides too
            ("A and B are returned in the other order", lambda *c: stacked()(*c)[::-1]),
            (
                "s1 is applied and s2 is left out",
                lambda A1, B1, s1, A2, B2, s2: (np.vstack([A1, A2]), np.hstack([s1 * B1, B2])),
            ),
            (
                "s2 is applied and s1 is left out",
                lambda A1, B1, s1, A2, B2, s2: (np.vstack([A1, A2]), np.hstack([B1, s2 * B2])),
            ),
            ("the update is the mean of both instead of the sum", lambda *c: (stacked()(*c)[0], stacked()(*c)[1] / 2)),
            (
                "both scales multiply both parts",
                lambda A1, B1, s1, A2, B2, s2: (np.vstack([A1, A2]), s1 * s2 * np.hstack([B1, B2])),
            ),
            (
                "the sum of the scales multiplies both parts",
                lambda A1, B1, s1, A2, B2, s2: (np.vstack([A1, A2]), (s1 + s2) * np.hstack([B1, B2])),
            ),
            (
                "s1 is used for both adapters",
                lambda A1, B1, s1, A2, B2, s2: (np.vstack([A1, A2]), s1 * np.hstack([B1, B2])),
            ),
            ("only the second adapter is used", lambda A1, B1, s1, A2, B2, s2: (A2, s2 * B2)),
            (
                "the second adapter is subtracted",
                lambda A1, B1, s1, A2, B2, s2: (np.vstack([A1, A2]), np.hstack([s1 * B1, -s2 * B2])),
            ),
        ),
        (
            "B A is a sum over r of column times row. A sum over more of them is a larger r.",
            "The rows of A1 and A2 one below the other; the columns of B1 and B2 side by side. Where do s1 and s2 go?",
            "np.vstack([A1, A2]) and np.hstack([..., ...]) with B1 and B2, each times its scale",
        ),
        seen=update_of,
    ),
)
