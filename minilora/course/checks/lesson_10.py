"""Lesson 10: rounding to 16 bits, and switching without drift."""

import numpy as np

from ..compare import Wrong, as_array, same, same_shape
from ..judge import Exercise
from .mistakes import OTHER

# ---- 10.1


def float_cases():
    rng = np.random.default_rng(91)
    random = (rng.standard_normal(40) * 10.0 ** rng.integers(-6, 6, 40)).astype(np.float32)
    exact, near = [1.0, -2.0, 0.0, 0.15625], [1.002, -1.007, 3.14159265, 1e-5]
    ties = [1.0078125, -1.01171875], [1.00390625, -1.01171875]
    return [
        *((np.array(v, dtype=np.float32),) for v in (exact, ties[0], near, ties[1])),
        (random,),
        (random.reshape(5, 8),),
        (random[:8].reshape(2, 2, 2),),
        (random[8:17].reshape(3, 3),),
        (np.array(HALVES, dtype=np.uint32).view(np.float32),),
    ]


# bits of ties, between neighbours that end with 0 or 1, and of numbers just below
HALVES = (0x3F808000, 0x3F818000, 0xBF828000, 0x3F838000, 0x3F807FFF, 0x3F817FFF, 0xBF827FFF, 0x40038001)


def nearest_even(x):
    mantissa, exponent = np.frexp(x.astype(np.float64))
    return np.ldexp(np.round(mantissa * 256) / 256, exponent)  # np.round goes to the even neighbour at a half


def float_shape(f, cases):
    for c in cases:
        same_shape(as_array(f(*c), "the result", c), c[0].shape, "the result", "", c)


def rounds(which, tell):
    def check(f, cases):
        for c in cases[which]:
            got = as_array(f(*c), "the result", c)
            bad = np.argwhere(got != nearest_even(c[0]))
            if bad.size:
                at = tuple(bad[0])
                raise Wrong(
                    f"{c[0][at]:.9g} becomes {nearest_even(c[0])[at]:.9g}{tell}; yours is {got[at]:.9g}",
                    (c[0][at].reshape(1),),
                )

    return check


def bits(x, add):
    u = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    return ((u + np.uint32(add)) & np.uint32(0xFFFF0000)).view(np.float32)


def _half_added(x):  # the bits after half a step is added, a tie to the even neighbour
    u = x.view(np.uint32)
    return u + np.uint32(0x7FFF) + ((u >> np.uint32(16)) & np.uint32(1))


def _digits(x, steps, rounding):
    mantissa, exponent = np.frexp(x)
    return np.ldexp(rounding(mantissa * steps) / steps, exponent)


def through_float16(x):
    with np.errstate(over="ignore"):
        return x.astype(np.float16).astype(np.float32)


# ---- 10.2


def turn_cases():
    rng = np.random.default_rng(92)
    one, many = (np.array([[0.1, 0.7]], dtype=np.float32), [np.array([[0.3, -0.2]], dtype=np.float32)]), []
    for shape, n, turns in (((2, 3), 2, 20), ((3, 2), 3, 300), ((2, 2), 4, 9)):
        W = rng.standard_normal(shape).astype(np.float32)
        updates = [rng.standard_normal(shape).astype(np.float32) for _ in range(n)]
        many.append((W, updates, rng.integers(0, n, turns).tolist()))
    return [(*one, [0]), *many]


def turn_shapes(f, cases):
    for c in cases:
        got = f(*c)
        listed = isinstance(got, list | tuple) or isinstance(got, np.ndarray) and got.ndim == 3
        if not listed or len(got) != len(c[2]):
            said = f"expected a list of {len(c[2])} matrices, one for each turn"
            raise Wrong(said, c if len(c[2]) < 5 else None, "not one matrix for each turn")


def first_turn(f, cases):
    W, updates, order = cases[0]
    same(f(W, updates, order)[0], W + updates[0], "the matrix of the first turn", (W, updates, order), rtol=1e-6)


def every_turn(f, cases):
    for W, updates, order in cases:
        for turn, (got, which) in enumerate(zip(f(W, updates, order), order, strict=True)):
            expected = W + updates[which]
            got = as_array(got, f"the matrix of turn {turn}", None)
            if not np.array_equal(got, expected.astype(np.float64)):
                off = np.abs(got - expected).max()
                if np.array_equal(got, W.astype(np.float64) + updates[which]):
                    said = f"turn {turn}: the matrix is computed in float64; W and the updates are float32, and so is their sum"
                    raise Wrong(said, None, "the sum is computed in float64: W and the updates are float32")
                why = (
                    ". If you subtracted the last update, the rounding errors of both steps remain"
                    if off < 1e-3
                    else ""
                )
                raise Wrong(
                    f"turn {turn} of {len(order)}: the matrix is {off:.2g} away from W + update {which}; "
                    f"expected the same bits in every turn{why}",
                    None,
                    "the rounding errors of adding and subtracting remain" if why else "",
                )


def keep_adding(W, updates, order):
    seen = []
    for which in order:
        W = W + updates[which]
        seen.append(W)
    return seen


EXERCISES = (
    Exercise(
        "10.1",
        "round_to_bfloat16",
        "Round to bfloat16",
        "hard",
        20,
        float_cases,
        (
            ("keeps the shape", float_shape),
            ("keeps a number that bfloat16 has", rounds(slice(0, 1), ", which is a bfloat16 already")),
            ("rounds to the nearest", rounds(slice(2, 3), ", the nearest bfloat16")),
            (
                "rounds a tie to the even neighbour",
                rounds(slice(1, 4, 2), ": a tie goes to the neighbour whose last bit is 0"),
            ),
            ("rounds random numbers", rounds(slice(4, None), "")),
        ),
        (
            ("the lower 16 bits are cut off: that rounds toward zero", lambda x: bits(x, 0)),
            ("a tie is always rounded away from zero", lambda x: bits(x, 0x8000)),
            ("a tie is always rounded toward zero", lambda x: bits(x, 0x7FFF)),
            ("the numbers are rounded to float16, which has more digits and a smaller range", through_float16),
            ("the numbers are rounded to decimals: bfloat16 has binary digits", lambda x: np.round(x, 2)),
            ("the numbers are rounded to three decimals: bfloat16 has binary digits", lambda x: np.round(x, 3)),
            ("the numbers are rounded to whole numbers", np.round),
            (
                "the lower half is not cleared completely: only 8 of the 16 bits are",
                lambda x: (_half_added(x) & np.uint32(0xFFFFFF00)).view(np.float32),
            ),
            ("the lower half is never cleared", lambda x: _half_added(x).view(np.float32)),
            (
                "one binary digit too few is kept: bfloat16 has 8 with the leading one, so multiply by 256",
                lambda x: _digits(x, 128, np.round),
            ),
            (
                "one binary digit too many is kept: bfloat16 has 8 with the leading one, so multiply by 256",
                lambda x: _digits(x, 512, np.round),
            ),
            (
                "floor rounds negative and positive numbers down: that is not the nearest",
                lambda x: _digits(x, 256, np.floor),
            ),
            (
                "the numbers become whole numbers: the bits must be viewed, x.view, not converted, x.astype",
                lambda x: x.astype(np.uint16),
            ),
            ("the numbers are returned as they are", lambda x: x),
            (
                "the bits are returned as whole numbers: view them as float32 again",
                lambda x: _half_added(x) & np.uint32(0xFFFF0000),
            ),
            ("a whole step is added before cutting: that always rounds up", lambda x: bits(x, 0xFFFF)),
            (
                "half a step and the last bit are added, but half a step is one too large, 0x8000",
                lambda x: bits(x, np.uint32(0x8000) + ((x.view(np.uint32) >> 16) & 1)),
            ),
            (
                "the wrong bit decides a tie: shift by 16, not 17",
                lambda x: bits(x, np.uint32(0x7FFF) + ((x.view(np.uint32) >> 17) & 1)),
            ),
            ("a tie goes to the odd neighbour", lambda x: bits(x, np.uint32(0x8000) - ((x.view(np.uint32) >> 16) & 1))),
            (
                "13 bits are cleared instead of 16",
                lambda x: (x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32),
            ),
            (
                "the numbers are rounded to steps of one size: bfloat16's steps grow with the number",
                lambda x: np.round(x * 256) / 256,
            ),
            ("the numbers are rounded to steps of one size, of bfloat16 near 1", lambda x: np.round(x * 128) / 128),
            ("the digits after the point are cut off", np.trunc),
            (
                "the lower half is filled with ones instead of zeros",
                lambda x: (x.view(np.uint32) | np.uint32(0xFFFF)).view(np.float32),
            ),
            ("the sign is wrong", lambda x: -nearest_even(x)),
            *OTHER["10.1"],
        ),
        (
            "A bfloat16 is the upper half of a float32: x.view(np.uint32) shows the 32 bits.",
            "Adding half a step before cutting rounds to the nearest: 0x7FFF, plus 1 when the bit above is 1 (then a "
            "tie goes up, to an even number).",
            "u = x.view(np.uint32); u = u + 0x7FFF + ((u >> 16) & 1); clear the lower half with & 0xFFFF0000, and view as "
            "float32 again",
        ),
    ),
    Exercise(
        "10.2",
        "take_turns",
        "Take turns without drift",
        "easy",
        10,
        turn_cases,
        (
            ("returns a matrix for each turn", turn_shapes),
            ("the first turn is W + update", first_turn),
            ("every turn is W + update to the bit", every_turn),
        ),
        (
            ("the last update is never taken out", keep_adding),
            ("the updates are returned without W", lambda W, updates, order: [updates[i] for i in order]),
            ("the same update is used in every turn", lambda W, updates, order: [W + updates[order[0]]] * len(order)),
            ("all updates are added in every turn", lambda W, updates, order: [W + sum(updates) for i in order]),
            (
                "one matrix for each adapter is returned: one for each turn is wanted",
                lambda W, updates, order: [W + u for u in updates],
            ),
            ("repeated turns are left out", lambda W, updates, order: [W + updates[i] for i in dict.fromkeys(order)]),
            ("one matrix is returned, not a list", lambda W, updates, order: W + updates[order[0]]),
            (
                "the matrix of the last turn alone is returned, not a list",
                lambda W, updates, order: W + updates[order[-1]],
            ),
            (
                "the turns are counted instead of looked up in order",
                lambda W, updates, order: [W + updates[t % len(updates)] for t in range(len(order))],
            ),
            ("W alone is returned in every turn", lambda W, updates, order: [W for _ in order]),
            ("the updates are subtracted", lambda W, updates, order: [W - updates[i] for i in order]),
            ("the turns are sorted", lambda W, updates, order: [W + updates[i] for i in sorted(order)]),
            ("the turns are reversed", lambda W, updates, order: [W + updates[i] for i in order[::-1]]),
            (
                "positions are counted from 1: updates[i - 1] is used",
                lambda W, updates, order: [W + updates[i - 1] for i in order],
            ),
            (
                "all turns of one matrix: the same array is changed and kept several times",
                lambda W, updates, order: [keep_adding(W, updates, order)[-1]] * len(order),
            ),
            (
                "the first turn starts from W alone: the list is one turn late",
                lambda W, updates, order: [W, *(W + updates[i] for i in order[:-1])],
            ),
            ("the last turn is missing", lambda W, updates, order: [W + updates[i] for i in order[:-1]]),
            (
                "the results are rounded to 16 bits",
                lambda W, updates, order: [(W + updates[i]).astype(np.float16) for i in order],
            ),
            (
                "the first update is added in every turn too",
                lambda W, updates, order: [W + updates[i] + updates[0] for i in order],
            ),
            (
                "the update is divided by the number of adapters",
                lambda W, updates, order: [W + updates[i] / len(updates) for i in order],
            ),
            (
                "the mean of all updates is added in every turn",
                lambda W, updates, order: [W + np.mean(updates, axis=0) for _ in order],
            ),
            (
                "the position is added, not the update at that position",
                lambda W, updates, order: [W + i for i in order],
            ),
            (
                "the update is added to itself: W is left out",
                lambda W, updates, order: [updates[i] + updates[i] for i in order],
            ),
            *OTHER["10.2"],
        ),
        (
            "What is the only way to be sure of the bits of W in turn 300?",
            "Never change W. Each turn needs its own matrix.",
            "a list with W + updates[i] for every i in order",
        ),
    ),
)
