"""Lesson 12: transposed weights, and a loader that refuses."""

from collections.abc import KeysView

import numpy as np

from ..compare import Wrong, as_array, parts, same, same_shape, small
from ..judge import Exercise
from .mistakes import OTHER

# ---- 12.1


def conv_cases():
    rng = np.random.default_rng(111)
    return [
        (small(rng, n, out), small(rng, r, n), small(rng, out, r), s)
        for out, n, r, s in (
            (1, 2, 1, 3.0),
            (3, 2, 1, 2.0),
            (4, 3, 2, 0.5),
            (2, 4, 3, -1.5),
            (3, 3, 2, 1.5),
            (2, 2, 2, 0.7),
        )
    ]


def conv_shape(f, cases):
    for c in cases:
        same_shape(as_array(f(*c), "the weight", c), c[0].shape, "the weight", "(in, out), as it is stored", c)


def conv_zero(f, cases):
    for W, A, B, s in cases:
        same(f(W, A, np.zeros(B.shape), s), W, "the weight for B = 0", (W, A, np.zeros(B.shape), s))


def conv_function(f, cases):
    for W, A, B, s in cases:
        x = np.eye(len(W))
        y = x @ W + s * (x @ A.T) @ B.T  # Conv1D computes x W, the adapter s (x Aᵀ) Bᵀ
        same(x @ as_array(f(W, A, B, s), "the weight", (W, A, B, s)), y, "x W of the merged weight", (W, A, B, s))


# ---- 12.2


def file_cases():
    a, b = "q_proj.lora_A.weight", "q_proj.lora_B.weight"
    c, d = "v_proj.lora_A.weight", "v_proj.lora_B.weight"
    want = {a: (2, 8), b: (8, 2), c: (2, 8), d: (4, 2)}
    return [
        ({a: (2, 8)}, {a: (2, 8)}),
        ({a: (2, 8), b: (8, 2)}, {a: (2, 8)}),
        ({a: (2, 8)}, {a: (2, 8), "model." + a: (2, 8)}),
        ({a: (2, 8), b: (8, 2)}, {a: (8, 2), b: (8, 2)}),
        (want, {d: (8, 2), c: (2, 8), "x": (1,), "model." + a: (2, 8), b: (8, 2)}),
        (want, {}),
        ({a: (8, 2)}, {a: (8, 4)}),  # the second size alone differs
        (want, {PREFIX + name: shape for name, shape in want.items()}),
        ({a: (2, 8), "x": (3,)}, {a: (8, 2), "x": (3, 1)}),
    ]


def three_lists(f, cases):
    for c in cases:
        for name, part in zip(("missing", "extra", "wrong_shape"), three(f, c), strict=True):
            if not isinstance(part, list | tuple | set | frozenset | KeysView) or not all(
                isinstance(v, str) for v in part
            ):
                raise Wrong(f"{name} is {part!r}, expected a list of names", c, f"{name} is no list of names")


def three(f, c):
    return parts(f(*c), ("missing", "extra", "wrong_shape"), c)


def all_right(f, cases):
    got = [list(p) for p in three(f, cases[0])]
    if any(got):
        raise Wrong(
            f"a file that fits is refused: missing, extra, wrong_shape = {got}, expected three empty lists", cases[0]
        )


def finds(which):
    def check(f, cases):
        for c in cases:
            got, wanted = sorted(three(f, c)[which]), sorted(compare(*c)[which])
            if got != wanted:
                raise Wrong(f"{('missing', 'extra', 'wrong_shape')[which]} is {got}, expected {wanted}", c)

    return check


def compare(expected, found):
    return (
        [k for k in expected if k not in found],
        [k for k in found if k not in expected],
        [k for k in expected if k in found and found[k] != expected[k]],
    )


PREFIX = "base_model.model."

EXERCISES = (
    Exercise(
        "12.1",
        "merge_conv1d",
        "Merge into a weight that is stored transposed",
        "medium",
        10,
        conv_cases,
        (
            ("has the shape of W", conv_shape),
            ("is W where B is zero", conv_zero),
            ("computes what layer and adapter compute together", conv_function),
        ),
        (
            ("the scale is left out", lambda W, A, B, s: W + (B @ A).T),
            (
                "the update is not transposed: its shape fits where in = out, but its values are wrong",
                lambda W, A, B, s: W + s * (B @ A),
            ),
            ("the update is subtracted", lambda W, A, B, s: W - s * (B @ A).T),
            ("W is transposed instead of the update", lambda W, A, B, s: W.T + s * (B @ A)),
            (
                "a transpose is guessed by the shape, which is wrong where in = out",
                lambda W, A, B, s: W + s * (B @ A if (B @ A).shape == W.shape else (B @ A).T),
            ),
            ("W is multiplied by 1 + the update: the update must be added", lambda W, A, B, s: W * (1 + s * (B @ A).T)),
            ("the update alone is returned, without W", lambda W, A, B, s: s * (B @ A).T),
            ("the scale is applied twice", lambda W, A, B, s: W + s * s * (B @ A).T),
            ("W is scaled too", lambda W, A, B, s: s * (W + (B @ A).T)),
            ("the update is divided by the scale", lambda W, A, B, s: W + (B @ A).T / s),
            ("the sign of the scale is lost", lambda W, A, B, s: W + abs(s) * (B @ A).T),
            ("A and B are each transposed but their order is kept", lambda W, A, B, s: W + s * B.T @ A.T),
            ("A and B are in the wrong order", lambda W, A, B, s: W + s * A @ B),
            *OTHER["12.1"],
        ),
        (
            "Conv1D stores W as (in, out) and computes x W. What shape does B A have?",
            "B A is (out, in), as always. It must become (in, out).",
            "return W + s * (the transposed of B @ A)",
        ),
    ),
    Exercise(
        "12.2",
        "compare_names",
        "Refuse a wrong key",
        "easy",
        10,
        file_cases,
        (
            ("returns three lists of names", three_lists),
            ("accepts a file that fits", all_right),
            ("finds missing names", finds(0)),
            ("finds extra names", finds(1)),
            ("finds wrong shapes", finds(2)),
        ),
        (
            ("missing and extra are swapped", lambda e, f: (compare(e, f)[1], compare(e, f)[0], compare(e, f)[2])),
            (
                "extra names are not listed: that is how a renamed key slips through",
                lambda e, f: (compare(e, f)[0], [], compare(e, f)[2]),
            ),
            ("shapes are not compared", lambda e, f: (*compare(e, f)[:2], [])),
            (
                "a name of wrong shape is listed as missing too",
                lambda e, f: (compare(e, f)[0] + compare(e, f)[2], *compare(e, f)[1:]),
            ),
            (
                "a name of wrong shape is listed as missing only",
                lambda e, f: (compare(e, f)[0] + compare(e, f)[2], compare(e, f)[1], []),
            ),
            ("nothing is ever refused", lambda e, f: ([], [], [])),
            ("only missing names are looked for", lambda e, f: (compare(e, f)[0], [], [])),
            (
                "a missing name is listed under wrong shapes too",
                lambda e, f: (*compare(e, f)[:2], [k for k in e if f.get(k) != e[k]]),
            ),
            (
                "only the number of axes is compared, not their sizes",
                lambda e, f: (*compare(e, f)[:2], [k for k in e if k in f and len(f[k]) != len(e[k])]),
            ),
            (
                "only the first size of a shape is compared",
                lambda e, f: (*compare(e, f)[:2], [k for k in e if k in f and f[k][0] != e[k][0]]),
            ),
            (
                "only the last size of a shape is compared",
                lambda e, f: (*compare(e, f)[:2], [k for k in e if k in f and f[k][-1] != e[k][-1]]),
            ),
            (
                "the order of the sizes is ignored: (2, 8) and (8, 2) are different",
                lambda e, f: (*compare(e, f)[:2], [k for k in e if k in f and sorted(f[k]) != sorted(e[k])]),
            ),
            (
                "only the number of elements is compared: (2, 8) and (8, 2) are different",
                lambda e, f: (*compare(e, f)[:2], [k for k in e if k in f and np.prod(f[k]) != np.prod(e[k])]),
            ),
            (
                "numbers of names are returned: the lists of names are wanted",
                lambda e, f: (len(compare(e, f)[0]), len(compare(e, f)[1]), len(compare(e, f)[2])),
            ),
            (
                "a name that only ends in the expected one is accepted: a prefix makes it another name",
                lambda e, f: ([k for k in e if not any(n.endswith(k) for n in f)], *compare(e, f)[1:]),
            ),
            (
                "the prefix base_model.model. is cut off before names are compared: then a renamed key slips through",
                lambda e, f: (
                    lambda cut: (
                        compare(e, cut)[0],
                        [n for n in f if n.removeprefix(PREFIX) not in e],
                        compare(e, f)[2],
                    )
                )({n.removeprefix(PREFIX): s for n, s in f.items()}),
            ),
            (
                "names that are in both are listed under missing and extra",
                lambda e, f: ([k for k in e if k in f], [k for k in f if k in e], compare(e, f)[2]),
            ),
            (
                "the shapes that are right are listed",
                lambda e, f: (*compare(e, f)[:2], [k for k in e if k in f and f[k] == e[k]]),
            ),
            ("all names of the file are listed as extra", lambda e, f: (compare(e, f)[0], list(f), compare(e, f)[2])),
            ("missing names are not listed", lambda e, f: ([], *compare(e, f)[1:])),
            ("one truth value is returned: the three lists of names are wanted", lambda e, f: e == f),
            (
                "only the first name of each list is found: is the `return` inside the loop?",
                lambda e, f: tuple(part[:1] for part in compare(e, f)),
            ),
            (
                "a name of wrong shape is listed as extra too",
                lambda e, f: (compare(e, f)[0], compare(e, f)[1] + compare(e, f)[2], compare(e, f)[2]),
            ),
            (
                "a name of wrong shape is listed as missing and extra",
                lambda e, f: (compare(e, f)[0] + compare(e, f)[2], compare(e, f)[1] + compare(e, f)[2], []),
            ),
            ("all names of both are listed, without comparing", lambda e, f: (sorted(e), sorted(f), [])),
            (
                "the names that are in only one of both are listed under missing and under extra",
                lambda e, f: (
                    [k for k in {**e, **f} if (k in e) != (k in f)],
                    [k for k in {**e, **f} if (k in e) != (k in f)],
                    compare(e, f)[2],
                ),
            ),
            (
                "extra names are looked for by their shapes",
                lambda e, f: (compare(e, f)[0], [k for k in f if f[k] not in e.values()], compare(e, f)[2]),
            ),
            (
                "a shape is looked for among all shapes: it must be that of the same name",
                lambda e, f: (*compare(e, f)[:2], [k for k in f if f[k] not in e.values()]),
            ),
            ("only the first wrong shape is listed", lambda e, f: (*compare(e, f)[:2], compare(e, f)[2][:1])),
        ),
        (
            "Two sets of names: what is in one and not in the other, both ways round; then those in both.",
            "missing: expected but not found. extra: found but not expected. wrong_shape: in both, with different shapes.",
            "[k for k in expected if k not in found], and two more of this kind",
        ),
    ),
)
