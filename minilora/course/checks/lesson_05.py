"""Lesson 5: the best part of rank r, and how many directions hold the energy."""

import numpy as np

from ..compare import Wrong, as_array, same, same_shape, small
from ..judge import Exercise

# ---- 5.1


def matrix_cases():
    rng = np.random.default_rng(41)
    return [
        (np.array([[3.0, 0.0], [0.0, 1.0]]), 1),
        (small(rng, 3, 2), 1),
        (small(rng, 3, 4), 2),
        (small(rng, 5, 3), 2),
        (small(rng, 2, 3), 2),
        (small(rng, 3, 3), 2),
        (small(rng, 4, 4), 1),
    ]


def part_shape(f, cases):
    for c in cases:
        same_shape(as_array(f(*c), "the part", c), c[0].shape, "the part", "like D", c)


def part_rank(f, cases):
    for D, r in cases:
        rank = int(np.linalg.matrix_rank(as_array(f(D, r), "the part", (D, r)), tol=1e-4))
        if rank > r:
            raise Wrong(f"the part has rank {rank}, expected at most {r}", (D, r))


def all_is_D(f, cases):
    D, r = cases[4]
    same(f(D, r), D, f"the part of rank {r}, where D itself has rank {r},", (D, r))


def part_is_best(f, cases):
    for D, r in cases:
        left = float(((D - as_array(f(D, r), "the part", (D, r))) ** 2).sum())
        best = float((np.linalg.svd(D, compute_uv=False)[r:] ** 2).sum())
        if left > best + 1e-5 * float((D * D).sum()):
            raise Wrong(
                f"the part leaves Σ (D - part)² = {left:.4g}; there is one of rank {r} that leaves {best:.4g}", (D, r)
            )


def from_svd(change):
    def function(D, r):
        U, s, Vh = np.linalg.svd(D, full_matrices=False)
        return change(U, s, Vh, r)

    return function


# ---- 5.2


def energy_cases():
    return [
        (np.array([3.0, 1.0]), 0.8),
        (np.array([3.0, 1.0]), 0.95),
        (np.array([4.0, 2.0, 1.0, 1.0]), 0.85),
        (np.array([4.0, 2.0, 1.0, 1.0]), 0.7),
        (np.array([5.0, 4.0, 3.0, 2.0, 1.0]), 0.88),
        (np.array([1.0, 1.0, 1.0, 1.0]), 0.5),  # met exactly
        (np.array([3.0, 1.0]), 1.0),
        (np.array([2.0]), 0.5),
        (np.array([6.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0]), 0.9),
    ]


def whole_number(f, cases):
    for c in cases:
        got = as_array(f(*c), "the number", c)
        if got.size != 1 or float(got.reshape(())) != round(float(got.reshape(()))):
            raise Wrong(f"expected one whole number, got {got.tolist()}", c)


def energy_is_right(f, cases):
    for c in cases:
        values, share = c
        energies = [v * v for v in values]
        expected = next(k for k in range(len(values) + 1) if sum(energies[:k]) >= share * sum(energies))
        got = int(as_array(f(*c), "the number", c).reshape(()))
        if got != expected:
            held = f"; the first {expected} hold {sum(energies[:expected]) / sum(energies):.3f} of the energy"
            if 0 < got <= len(values):
                held += f", the first {got} hold {sum(energies[:got]) / sum(energies):.3f}"
            raise Wrong(f"for {values.tolist()} and {share} the answer is {expected}, yours is {got}{held}", c)


def counted(values, share):  # how many of the sorted `values` add up to that share
    return int(np.searchsorted(np.cumsum(values) / np.sum(values), share)) + 1


EXERCISES = (
    Exercise(
        "5.1",
        "best_part",
        "The best part of rank r",
        "medium",
        15,
        matrix_cases,
        (
            ("has the shape of D", part_shape),
            ("has rank r at most", part_rank),
            ("is D itself when r is the rank of D", all_is_D),
            ("no other part of rank r comes closer", part_is_best),
        ),
        (
            ("the singular values are left out: U Vᵀ alone", from_svd(lambda U, s, Vh, r: U[:, :r] @ Vh[:r])),
            (
                "the smallest singular values are kept instead of the largest",
                from_svd(lambda U, s, Vh, r: (U[:, -r:] * s[-r:]) @ Vh[-r:]),
            ),
            ("the singular values are applied twice", from_svd(lambda U, s, Vh, r: (U[:, :r] * s[:r] ** 2) @ Vh[:r])),
            (
                "only direction number r is kept, instead of the first r",
                from_svd(lambda U, s, Vh, r: s[r - 1] * np.outer(U[:, r - 1], Vh[r - 1])),
            ),
            (
                "one direction too many is kept",
                from_svd(lambda U, s, Vh, r: (U[:, : r + 1] * s[: r + 1]) @ Vh[: r + 1]),
            ),
            (
                "the first r columns of D are kept, and the others set to zero",
                lambda D, r: np.where(np.arange(D.shape[1]) < r, D, 0.0),
            ),
        ),
        (
            "np.linalg.svd takes D apart into directions, the most important first.",
            "U, s, Vh = np.linalg.svd(D, full_matrices=False); D = U diag(s) Vh. Keep r of the directions.",
            "the columns U[:, :r], times s[:r], times the rows Vh[:r]",
        ),
    ),
    Exercise(
        "5.2",
        "directions_for",
        "How many directions hold the energy",
        "easy",
        10,
        energy_cases,
        (("returns a whole number", whole_number), ("is the smallest number that is enough", energy_is_right)),
        (
            (
                "the singular values are added up: the energy is the sum of their squares",
                lambda s, share: counted(s, share),
            ),
            ("the result is one too small: positions count from 0", lambda s, share: counted(s * s, share) - 1),
            ("the result is one too large", lambda s, share: counted(s * s, share) + 1),
            ("those larger than a share of the largest are counted", lambda s, share: int((s > share * s.max()).sum())),
        ),
        (
            "The energy of a direction is its singular value squared. The whole energy is Σ σ².",
            "np.cumsum(s * s) has the energy of the first 1, 2, 3, ... directions.",
            "the first position where that reaches share * (s * s).sum(), plus 1: positions count from 0",
        ),
    ),
)
