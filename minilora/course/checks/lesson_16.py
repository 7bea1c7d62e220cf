"""Lesson 16: AdaLoRA's smoothed importance, and the triplets that a budget leaves."""

import numpy as np

from ..compare import Wrong, as_array, parts, same, same_shape, small
from ..judge import Exercise
from .mistakes_of_the_family import OTHER

# ---- 16.1


def importance_cases():
    rng = np.random.default_rng(161)
    settings = (((1,), 0.5, 0.75), ((2,), 0.9, 0.6), ((3,), 0.85, 0.95), ((2, 3), 0.7, 0.4), ((3, 3), 0.25, 0.8))
    return [
        (small(rng, *shape), small(rng, *shape), abs(small(rng, *shape)), abs(small(rng, *shape)), *betas)
        for shape, *betas in settings
    ]


def smoothed(
    now=lambda p, g: abs(p * g),
    betas=lambda b1, b2: (b1, b2),
    doubt=lambda now, old, new: abs(now - new),
    rest=lambda b: 1 - b,
    order=slice(None),
):
    """The smoothing with one thing changed."""

    def function(p, g, importance, uncertainty, beta1, beta2):
        b1, b2 = betas(beta1, beta2)
        fresh = now(p, g)
        new = b1 * importance + rest(b1) * fresh
        return (new, b2 * uncertainty + rest(b2) * doubt(fresh, importance, new))[order]

    return function


def importance_parts(f, c):
    return parts(f(*c), ("importance", "uncertainty"), c)


def importance_shapes(f, cases):
    for c in cases:
        for part, name in zip(importance_parts(f, c), ("importance", "uncertainty"), strict=True):
            same_shape(as_array(part, name, c), c[0].shape, name, "like p", c)


def zero_p_matters_less(f, cases):
    for p, g, old, doubt, b1, b2 in cases:
        c = (np.zeros(p.shape), g, old, doubt, b1, b2)
        same(importance_parts(f, c)[0], b1 * old, "importance of numbers that are 0 now", c)


def importance_is_right(f, cases):
    for c in cases:
        same(importance_parts(f, c)[0], smoothed()(*c)[0], "importance", c)


def uncertainty_is_right(f, cases):
    for c in cases:
        same(importance_parts(f, c)[1], smoothed()(*c)[1], "uncertainty", c)


# ---- 16.2


def keep_cases():
    rng = np.random.default_rng(162)

    def different(*shape):
        return rng.permutation(np.arange(1, np.prod(shape) + 1)).reshape(shape) / 10

    tied = np.array([[0.3, 0.1, 0.2], [0.2, 0.2, 0.5]])
    zeros = np.array([[0.0, 0.4], [0.0, 0.0], [0.1, 0.0]])
    return [
        (different(1, 2), 1),
        (different(2, 2), 2),
        (different(2, 3), 4),
        (different(3, 2), 6),
        (np.array([[0.9, 0.8, 0.7], [0.1, 0.2, 0.3]]), 3),
        (different(4, 3), 5),
        (different(3, 3), 1),
        (tied, 4),
        (tied, 2),
        (zeros, 3),
        (different(2, 2), 0),
    ]


def kept(scores, budget):
    order = np.sort(scores.ravel())
    falls = scores.size - budget
    return scores > (order[falls - 1] if falls > 0 else -np.inf)


def mask_of(f, c):
    result = f(*c)
    mask = as_array(result, "the result", c)
    if mask.shape != c[0].shape and np.asarray(result).dtype.kind in "iu":
        said = "the result has whole numbers; expected an array of True and False in the shape of scores"
        raise Wrong(said, c, "the places of those that stay are returned; True and False for each are asked for")
    same_shape(mask, c[0].shape, "the result", "(layers, r), like scores", c)
    if not np.isin(mask, (0, 1)).all():
        raise Wrong("the result has numbers other than True and False", c)
    return mask


def mask_is_true_and_false(f, cases):
    for c in cases:
        mask_of(f, c)


def never_above_the_budget(f, cases):
    for c in cases:
        if (n := int(mask_of(f, c).sum())) > c[1]:
            raise Wrong(f"{n} triplets stay, the budget is {c[1]}", c, "more stay than the budget allows")


def best_stay(f, cases):
    for c in cases:
        mask, expected = mask_of(f, c), kept(*c)
        if np.ptp(mask.sum(axis=1)) == 0 < np.ptp(expected.sum(axis=1)):
            said = "every layer keeps the same number, but the budget is of the whole model"
            raise Wrong(said, c, said)
        same(mask, expected, "the result", c)


def largest(scores, n):  # exactly n, the first of equal ones
    mask = np.zeros(scores.size)
    mask[np.argsort(-scores.ravel(), kind="stable")[: max(n, 0)]] = 1
    return mask.reshape(scores.shape) > 0


EXERCISES = (
    Exercise(
        "16.1",
        "smooth_importance",
        "How much a number matters",
        "medium",
        15,
        importance_cases,
        (
            ("returns importance and uncertainty in the shape of p", importance_shapes),
            ("a number that is 0 does not matter now", zero_p_matters_less),
            ("importance is |p g|, smoothed", importance_is_right),
            ("uncertainty is the distance from it, smoothed", uncertainty_is_right),
        ),
        (
            ("p g has its sign; its size is meant", smoothed(now=lambda p, g: p * g)),
            ("the size of the gradient alone is used, without p", smoothed(now=lambda p, g: abs(g))),
            ("the size of p alone is used, without its gradient", smoothed(now=lambda p, g: abs(p))),
            ("p g is squared", smoothed(now=lambda p, g: (p * g) ** 2)),
            ("beta1 and beta2 are exchanged", smoothed(betas=lambda b1, b2: (b2, b1))),
            ("beta1 is used for both", smoothed(betas=lambda b1, b2: (b1, b1))),
            ("the new part has the share beta; it has 1 - beta", smoothed(betas=lambda b1, b2: (1 - b1, 1 - b2))),
            ("the new part is added whole; its share is 1 - beta", smoothed(rest=lambda b: 1)),
            (
                "the uncertainty is the distance from the old importance; the smoothed one, the new one, is meant",
                smoothed(doubt=lambda now, old, new: abs(now - old)),
            ),
            (
                "the uncertainty is the distance of the old importance from the new one",
                smoothed(doubt=lambda now, old, new: abs(old - new)),
            ),
            ("the distance has its sign; its size is meant", smoothed(doubt=lambda now, old, new: now - new)),
            ("the distance is squared", smoothed(doubt=lambda now, old, new: (now - new) ** 2)),
            ("the new importance is smoothed as its own uncertainty", smoothed(doubt=lambda now, old, new: new)),
            ("importance and uncertainty are returned in the other order", smoothed(order=slice(None, None, -1))),
            *OTHER["16.1"],
        ),
        (
            "Three lines: the importance of now, its running mean, and the running mean of a distance.",
            "now = |p g|. A running mean: beta times the old one, plus 1 - beta times what is new.",
            "importance = beta1 * importance + (1 - beta1) * now; then the same with beta2 and |now - importance|",
        ),
    ),
    Exercise(
        "16.2",
        "keep",
        "Who may stay",
        "medium",
        15,
        keep_cases,
        (
            ("returns True and False in the shape of scores", mask_is_true_and_false),
            ("never keeps more than the budget", never_above_the_budget),
            ("keeps the highest scores of the whole model", best_stay),
        ),
        (
            (
                "every layer keeps the same number; the budget is of the whole model",
                lambda scores, budget: np.stack([largest(row[None], budget // len(scores))[0] for row in scores]),
            ),
            ("the lowest scores are kept", lambda scores, budget: kept(-scores, budget)),
            (
                "those that fall are marked True, those that stay False",
                lambda scores, budget: ~kept(scores, budget),
            ),
            (
                "one too few stays: the triplet at the threshold falls too",
                lambda scores, budget: kept(scores, budget - 1),
            ),
            ("the budget is taken as the number that falls", lambda scores, budget: kept(scores, scores.size - budget)),
            (
                "of equal scores some stay: all of them fall when they do not fit together",
                largest,
            ),
            ("everything stays", lambda scores, budget: np.ones(scores.shape, bool)),
            ("the scores above their mean stay", lambda scores, budget: scores > scores.mean()),
            (
                "the scores that fall are set to zero; True and False are wanted",
                lambda scores, budget: scores * kept(scores, budget),
            ),
            *OTHER["16.2"],
        ),
        (
            "How many must fall? Sort all scores together, and find the highest score that falls.",
            "With k = all - budget, the k-th smallest score falls, and every score equal to it. k may be 0.",
            "threshold = np.sort(scores.ravel())[k - 1]; scores > threshold; all True for k = 0",
        ),
    ),
)
