"""Lesson 9: equal budgets, and the spread of scores."""

import math

import numpy as np

from ..compare import Wrong, as_array, parts, same
from ..judge import Exercise
from .lesson_08 import equals, lora, whole

# ---- 9.1


def budget_cases():
    return [([(3, 2)], 10), ([(3, 2)], 14), ([(4, 2), (4, 6)], 33), ([(128, 128), (64, 128)], 8000), ([(5, 4)], 8),
            ([(3, 2)], 100), ([(2, 2)], 12), ([(4, 4)] * 3, 50)]  # fmt: skip


def largest_rank(shapes, budget):
    return max(r for r in range(budget + 1) if lora(shapes, r) <= budget)


def tell_budget(shapes, budget):
    return f"{', '.join(f'{out} x {n}' for out, n in shapes)}, budget {budget:,}"


def within_budget(f, cases):
    for shapes, budget in cases:
        r = whole(f, (shapes, budget))
        if lora(shapes, r) > budget:
            raise Wrong(
                f"{tell_budget(shapes, budget)}: rank {r:g} needs {lora(shapes, r):,g} parameters", (shapes, budget)
            )


# ---- 9.2


def score_cases():
    # three numbers before two: with two, the variance, the range and division by n differ by the same factor
    return [([0.5, 0.5, 0.5],), ([0.1, 0.4, 0.9],), ([0.0, 1.0],), ([0.25, 0.75, 0.5, 0.9, 0.3],)]


def two_numbers(f, cases):
    for c in cases:
        mean, spread = (
            as_array(v, n, c) for v, n in zip(parts(f(*c), ("mean", "spread"), c), ("mean", "spread"), strict=True)
        )
        if mean.size != 1 or spread.size != 1:
            raise Wrong("expected two numbers, the mean and the spread", c)


def part_is_right(which, name, expected):
    def check(f, cases):
        for c in cases:
            n = len(c[0])
            same(
                parts(f(*c), ("mean", "spread"), c)[which],
                expected(c[0]),
                name,
                c,
                factors={"√(n / (n - 1))": math.sqrt(n / (n - 1)), "√n": math.sqrt(n)},
            )

    return check


def spread(scores, ddof=1):
    m = sum(scores) / len(scores)
    return math.sqrt(sum((s - m) ** 2 for s in scores) / (len(scores) - ddof))


EXERCISES = (
    Exercise(
        "9.1",
        "rank_for_budget",
        "The rank that a budget allows",
        "medium",
        10,
        budget_cases,
        (
            ("stays within the budget", within_budget),
            ("is the largest rank that does", equals(largest_rank, tell_budget)),
        ),
        (
            (
                "the rank is rounded to the nearest, which may exceed the budget",
                lambda shapes, budget: round(budget / lora(shapes, 1)),
            ),
            (
                "the rank is rounded up, which exceeds the budget",
                lambda shapes, budget: math.ceil(budget / lora(shapes, 1)),
            ),
            ("the rank is not rounded to a whole number", lambda shapes, budget: budget / lora(shapes, 1)),
            ("each matrix gets the whole budget", lambda shapes, budget: budget // lora(shapes[:1], 1)),
            ("only the inputs are counted, not in + out", lambda shapes, budget: budget // sum(n for _, n in shapes)),
            (
                "the budget is divided by the size of W instead of in + out",
                lambda shapes, budget: budget // sum(out * n for out, n in shapes),
            ),
        ),
        (
            "How many parameters does one more rank cost, over all matrices together?",
            "Rank r costs r · Σ (in + out). How many of those fit into the budget?",
            "budget // sum(out + n_in for out, n_in in shapes)",
        ),
    ),
    Exercise(
        "9.2",
        "mean_and_spread",
        "How far apart are the seeds?",
        "easy",
        5,
        score_cases,
        (
            ("returns two numbers", two_numbers),
            ("the mean", part_is_right(0, "the mean", lambda s: sum(s) / len(s))),
            ("the spread", part_is_right(1, "the spread", spread)),
        ),
        (
            (
                "the sum is divided by n instead of n - 1: that understates the spread of few seeds",
                lambda s: (np.mean(s), np.std(s)),
            ),
            ("the root is missing: that is the variance", lambda s: (np.mean(s), spread(s) ** 2)),
            (
                "the spread is the standard error: that of the mean, not of the seeds",
                lambda s: (np.mean(s), spread(s) / len(s) ** 0.5),
            ),
            ("the spread is the range, largest minus smallest", lambda s: (np.mean(s), max(s) - min(s))),
            ("the median is taken instead of the mean", lambda s: (np.median(s), spread(s))),
        ),
        (
            "The spread: the root of the mean square distance from the mean. Over n seeds, is it a mean over n?",
            "One distance is used up by the mean, so divide by n - 1.",
            "np.mean(scores), np.std(scores, ddof=1)",
        ),
    ),
)
