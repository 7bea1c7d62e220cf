"""Lesson 5: the best part of rank r, and how many directions hold the energy."""

import numpy as np

from ..compare import Wrong, as_array, same, same_shape, small
from ..judge import Exercise
from .mistakes import OTHER

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
            raise Wrong(f"the part has rank {rank}, expected at most {r}", (D, r), "the rank of the part is above r")


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


def rows_of_U(U, s, Vh, r):  # of the whole U, which is square
    return U[:r].T[:, : len(s)] * s[:r] @ Vh[: min(r, len(s))]


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
        (np.array([0.9, 0.5]), 0.9),
        (np.array([6.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0]), 0.9),
    ]


def whole_number(f, cases):
    for c in cases:
        got = as_array(f(*c), "the number", c)
        if got.size != 1 or float(got.reshape(())) != round(float(got.reshape(()))):
            raise Wrong(f"expected one whole number, got {got.tolist()}", c, "the result is no whole number")


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
            (
                "the first r rows of D are kept, and the others set to zero",
                lambda D, r: np.where(np.arange(D.shape[0])[:, None] < r, D, 0.0),
            ),
            ("columns of D times rows of D: that is no part of D", lambda D, r: D[:, :r] @ D[:r]),
            ("all directions are kept: r is ignored", lambda D, r: D),
            (
                "what is left over is returned: D minus the best part",
                from_svd(lambda U, s, Vh, r: (U[:, r:] * s[r:]) @ Vh[r:]),
            ),
            (
                "only the first direction is kept, whatever r is",
                from_svd(lambda U, s, Vh, r: s[0] * np.outer(U[:, 0], Vh[0])),
            ),
            (
                "the root of the singular values is used",
                from_svd(lambda U, s, Vh, r: (U[:, :r] * s[:r] ** 0.5) @ Vh[:r]),
            ),
            ("one direction too few is kept", from_svd(lambda U, s, Vh, r: (U[:, : r - 1] * s[: r - 1]) @ Vh[: r - 1])),
            (
                "Vh is transposed once more: its rows are the directions already",
                from_svd(lambda U, s, Vh, r: (U[:, :r] * s[:r]) @ Vh[:, :r].T),
            ),
            (
                "the largest elements of D are kept, which is no low rank",
                lambda D, r: np.where(np.abs(D) >= np.sort(np.abs(D).ravel())[-r], D, 0.0),
            ),
            (
                "rows of U are taken: its columns are the directions",
                lambda D, r: rows_of_U(*np.linalg.svd(D), r),
            ),
            ("the singular values alone are returned", from_svd(lambda U, s, Vh, r: s[:r])),
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
            (
                "a share that is met exactly does not count: it must be at least that share, >= and not >",
                lambda s, share: int(np.sum(np.cumsum(s * s) <= share * np.sum(s * s))) + 1,
            ),
            (
                "a share that is met exactly does not count, > instead of >=, and where none is larger the answer is 1",
                lambda s, share: int(np.argmax(np.cumsum(s * s) > share * np.sum(s * s))) + 1,
            ),
            (
                "those from that place on are counted, instead of those up to it",
                lambda s, share: int((np.cumsum(s * s) >= share * np.sum(s * s)).sum()),
            ),
            (
                "the energy itself is returned instead of the number of directions",
                lambda s, share: (e := np.cumsum(s * s))[e >= share * e[-1]][0],
            ),
            ("the number of directions is divided, not their energy (rounded)", lambda s, share: round(share * len(s))),
            (
                "the number of directions is divided, not their energy (rounded up)",
                lambda s, share: int(np.ceil(share * len(s))),
            ),
            (
                "the number of directions is divided, not their energy (rounded down)",
                lambda s, share: int(share * len(s)),
            ),
            (
                "the share is compared with the energy itself: it needs the share times the whole energy",
                lambda s, share: int(np.argmax(np.cumsum(s * s) >= share)) + 1,
            ),
            (
                "the energies are divided by the sum of the singular values instead of the sum of their squares",
                lambda s, share: int(np.argmax(np.cumsum(s * s) / np.sum(s) >= share)) + 1,
            ),
            (
                "the answer is always 1: the energies must be added up, the first k of them",
                lambda s, share: int(np.argmax(s * s >= share * np.sum(s * s))) + 1,
            ),
            ("the smallest are added up first", lambda s, share: counted((s * s)[::-1], share)),
            (
                "the share is squared, or the roots of the energies are compared",
                lambda s, share: counted(s * s, share**2),
            ),
            (
                "the energies that are larger than a share of the largest are counted",
                lambda s, share: int((s * s >= share * s[0] ** 2).sum()),
            ),
            ("the directions that are left out are counted", lambda s, share: len(s) - counted(s * s, share)),
            ("all directions are counted", lambda s, share: len(s)),
            (
                "the energies that are larger than the share itself are counted",
                lambda s, share: int((s * s > share).sum()),
            ),
            *OTHER["5.2"],
        ),
        (
            "The energy of a direction is its singular value squared. The whole energy is Σ σ².",
            "np.cumsum(s * s) has the energy of the first 1, 2, 3, ... directions.",
            "the first position where that reaches share * (s * s).sum(), plus 1: positions count from 0",
        ),
    ),
)
