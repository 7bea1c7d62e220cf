"""Lesson 9: equal budgets, and the spread of scores."""

import math

import numpy as np

from ..compare import Wrong, as_array, parts, same
from ..judge import Exercise
from .lesson_08 import equals, lora, whole
from .mistakes import OTHER

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
            (
                "the budget is divided by the number of matrices and the first one stands for all",
                lambda shapes, budget: budget // len(shapes) // lora(shapes[:1], 1),
            ),
            (
                "the ranks of the matrices alone are added up: all share one budget",
                lambda shapes, budget: sum(budget // lora([s], 1) for s in shapes),
            ),
            (
                "the smallest rank that one matrix alone allows is taken: all share one budget",
                lambda shapes, budget: min(budget // lora([s], 1) for s in shapes),
            ),
            (
                "the largest rank that one matrix alone allows is taken",
                lambda shapes, budget: max(budget // lora([s], 1) for s in shapes),
            ),
            (
                "the rank is capped by the smallest side of a matrix: the budget alone decides here",
                lambda shapes, budget: min(budget // lora(shapes, 1), min(map(min, shapes))),
            ),
            (
                "rank 1 is returned where even rank 1 is too much: it must be 0",
                lambda shapes, budget: max(1, budget // lora(shapes, 1)),
            ),
            (
                "only the outputs are counted, not in + out",
                lambda shapes, budget: budget // sum(out for out, _ in shapes),
            ),
            ("matrices of equal shape are counted once", lambda shapes, budget: budget // lora(set(shapes), 1)),
            ("a budget that is met exactly is refused", lambda shapes, budget: (budget - 1) // lora(shapes, 1)),
            ("the result is one too large", lambda shapes, budget: budget // lora(shapes, 1) + 1),
            ("the result is one too small", lambda shapes, budget: budget // lora(shapes, 1) - 1),
            ("the rest of the division is returned", lambda shapes, budget: budget % lora(shapes, 1)),
            ("each side is counted twice", lambda shapes, budget: budget // (2 * lora(shapes, 1))),
            (
                "the largest power of two is taken",
                lambda shapes, budget: max([2**k for k in range(20) if lora(shapes, 2**k) <= budget], default=0),
            ),
            (
                "the number of parameters is returned, not the rank",
                lambda shapes, budget: lora(shapes, budget // lora(shapes, 1)),
            ),
            (
                "the larger side of each matrix is counted alone",
                lambda shapes, budget: budget // sum(max(s) for s in shapes),
            ),
            (
                "the smaller side of each matrix is counted alone",
                lambda shapes, budget: budget // sum(min(s) for s in shapes),
            ),
            ("the root of the budget is taken", lambda shapes, budget: math.isqrt(budget)),
            ("the number of matrices is returned", lambda shapes, budget: len(shapes)),
            *OTHER["9.1"],
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
            (
                "the root is missing and the sum is divided by n: that is the variance of all",
                lambda s: (np.mean(s), np.var(s)),
            ),
            (
                "the spread is the mean distance from the mean, without squares",
                lambda s: (np.mean(s), np.mean(np.abs(np.array(s) - np.mean(s)))),
            ),
            (
                "the spread is the sum of the distances, without squares, divided by n - 1",
                lambda s: (np.mean(s), np.abs(np.array(s) - np.mean(s)).sum() / (len(s) - 1)),
            ),
            ("the squares are added up and never divided", lambda s: (np.mean(s), spread(s, len(s) - 1))),
            ("the mean is divided by n - 1: only the spread is", lambda s: (sum(s) / (len(s) - 1), spread(s))),
            ("half the range is taken as the spread", lambda s: (np.mean(s), (max(s) - min(s)) / 2)),
            ("the sum is returned instead of the mean", lambda s: (sum(s), spread(s))),
            ("mean and spread are returned in the other order", lambda s: (spread(s), np.mean(s))),
            ("the distances are not squared, so they add up to zero", lambda s: (np.mean(s), 0.0)),
            ("the best score is returned instead of the mean", lambda s: (max(s), spread(s))),
            ("the sum is divided by n - 2", lambda s: (np.mean(s), np.std(s, ddof=2))),
            (
                "the division by n - 1 is made after the root",
                lambda s: (np.mean(s), spread(s, len(s) - 1) / (len(s) - 1)),
            ),
            ("the division by n is made after the root", lambda s: (np.mean(s), spread(s, len(s) - 1) / len(s))),
            (
                "the spread is the distance of the first score from the mean",
                lambda s: (np.mean(s), abs(s[0] - np.mean(s))),
            ),
            ("the spread is given in percent of the mean", lambda s: (np.mean(s), spread(s) / np.mean(s))),
            (
                "the spread is the largest distance from the mean",
                lambda s: (np.mean(s), max(abs(v - np.mean(s)) for v in s)),
            ),
            (
                "the medians are taken, of the scores and of their distances",
                lambda s: (np.median(s), np.median(np.abs(np.array(s) - np.median(s)))),
            ),
            (
                "the middle between the best and the worst is taken instead of the mean",
                lambda s: ((max(s) + min(s)) / 2, spread(s)),
            ),
            ("the mean is rounded", lambda s: (round(np.mean(s), 1), spread(s))),
            (
                "the distances between neighbours are added up: the distances from the mean are wanted",
                lambda s: (np.mean(s), sum(abs(b - a) for a, b in zip(s, s[1:], strict=False))),
            ),
            (
                "the squares of the scores are used, and the mean is not subtracted from each",
                lambda s: (np.mean(s), math.sqrt(max(sum(v * v for v in s) - np.mean(s) ** 2, 0))),
            ),
        ),
        (
            "The spread: the root of the mean square distance from the mean. Over n seeds, is it a mean over n?",
            "One distance is used up by the mean, so divide by n - 1.",
            "np.mean(scores), np.std(scores, ddof=1)",
        ),
    ),
)
