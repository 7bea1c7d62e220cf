"""Lesson 13: numbers in sixteen levels and blocks, read again, and the bits that they take."""

import numpy as np

from ..compare import Wrong, as_array, parts, same, same_shape
from ..judge import Exercise
from .mistakes_of_the_family import OTHER

UNEVEN = np.array([-1.0, -0.5, -0.2, 0.0, 0.1, 0.4, 1.0])
FEW = np.array([-1.0, 0.0, 0.3, 1.0])

# n, levels, size: one block, two, a last block that is shorter, one number alone at the end
SIZES = ((2, FEW, 2), (4, FEW, 2), (5, UNEVEN, 3), (7, UNEVEN, 3), (12, UNEVEN, 4), (9, FEW, 16))


def numbers_of(rng, n, levels, size):
    """n numbers whose codes are plain: none is near the middle between two levels."""
    codes, absmax = rng.integers(0, len(levels), n), rng.integers(2, 9, -(-n // size)).astype(float)
    for block in range(len(absmax)):
        at = block * size + rng.integers(0, min(size, n - block * size))
        codes[at] = 0 if block % 2 == 0 else len(levels) - 1  # the largest is negative in every second block
    near = np.clip(levels[codes] + rng.choice([-0.03, 0.0, 0.03], n), -1, 1)
    near = np.where(np.abs(levels[codes]) == 1, levels[codes], near)
    return near * np.repeat(absmax, size)[:n], codes, absmax


# ---- 13.1


def quantize_cases():
    rng = np.random.default_rng(131)
    cases = [(numbers_of(rng, *c)[0], c[1], c[2]) for c in SIZES]
    zeros = np.concatenate([cases[2][0][:3], np.zeros(3)])
    return [*cases, (zeros, UNEVEN, 3)]


def quantized(w, levels, size, largest=lambda block: np.abs(block).max(), nearest=None):
    nearest = nearest or (lambda v, levels: np.abs(v[:, None] - levels).argmin(axis=1))
    blocks = [w[at : at + size] for at in range(0, len(w), size)]
    absmax = np.array([largest(block) for block in blocks])
    with np.errstate(all="ignore"):
        scaled = [block / (a or 1) for block, a in zip(blocks, absmax, strict=True)]
    return np.concatenate([nearest(v, levels) for v in scaled]), absmax


def quantize_parts(f, c):
    return parts(f(*c), ("codes", "absmax"), c)


def quantize_shapes(f, cases):
    for c in cases[:-1]:
        codes, absmax = quantize_parts(f, c)
        same_shape(as_array(codes, "codes", c), c[0].shape, "codes", "(n,)", c)
        same_shape(as_array(absmax, "absmax", c), (-(-len(c[0]) // c[2]),), "absmax", "one for each block", c)


def absmax_is_right(f, cases):
    for c in cases[:-1]:
        same(quantize_parts(f, c)[1], quantized(*c)[1], "absmax", c)


def codes_are_places(f, cases):
    for c in cases[:-1]:
        codes = as_array(quantize_parts(f, c)[0], "codes", c)
        if not np.array_equal(codes, np.round(codes)):
            raise Wrong(
                "codes has numbers that are not whole: a code is the place of a level, 0, 1, 2, ...",
                c,
                "codes are no whole numbers",
            )
        if codes.min() < 0 or codes.max() >= len(c[1]):
            raise Wrong(
                f"codes has {codes.min():.0f} to {codes.max():.0f}, expected 0 to {len(c[1]) - 1}",
                c,
                "codes are no places in levels",
            )


def codes_are_right(f, cases):
    for c in cases[:-1]:
        same(quantize_parts(f, c)[0], quantized(*c)[0], "codes", c)


def zeros_are_zero(f, cases):
    c = cases[-1]
    codes, absmax = quantize_parts(f, c)
    same(codes, quantized(*c)[0], "codes, where the second block is all zeros", c)
    same(absmax, quantized(*c)[1], "absmax, where the second block is all zeros", c)


# ---- 13.2


def read_cases():
    rng = np.random.default_rng(132)
    return [(*numbers_of(rng, *c)[1:], c[1], c[2]) for c in SIZES]


def read_shape(f, cases):
    for c in cases:
        same_shape(as_array(f(*c), "the result", c), c[0].shape, "the result", "(n,)", c)


def read_is_right(f, cases):
    for c in cases:
        codes, absmax, levels, size = c
        expected = [levels[code] * absmax[i // size] for i, code in enumerate(codes)]
        same(f(*c), expected, "the result", c)


# ---- 13.3


def bit_cases():
    return [(64, None), (100, None), (20, None), (32, 256), (64, 256), (100, 30), (256, 64), (5, 4)]


def bits(first=32, code=4, eight=8, second=32, inner=lambda size, second: size * second):
    def function(size, second_size):
        if second_size is None:
            return code + first / size
        return code + eight / size + second / inner(size, second_size)

    return function


def bits_are_right(which):
    def check(f, cases):
        for c in cases[which]:
            same(f(*c), bits()(*c), "the number of bits", c)

    return check


EXERCISES = (
    Exercise(
        "13.1",
        "quantize",
        "Sixteen levels",
        "medium",
        20,
        quantize_cases,
        (
            ("returns a code for each number and an absmax for each block", quantize_shapes),
            ("absmax is the largest absolute value of each block", absmax_is_right),
            ("codes are places in levels", codes_are_places),
            ("codes are those of the nearest levels", codes_are_right),
            ("a block of zeros stays zero", zeros_are_zero),
        ),
        (
            (
                "absmax is the largest number of a block, not the largest absolute value",
                lambda w, levels, size: quantized(w, levels, size, largest=np.max),
            ),
            (
                "one absmax is used for all blocks",
                lambda w, levels, size: quantized(w, levels, size, largest=lambda block: np.abs(w).max()),
            ),
            (
                "blocks are scaled by their mean absolute value",
                lambda w, levels, size: quantized(w, levels, size, largest=lambda block: np.abs(block).mean()),
            ),
            (
                "the numbers are not divided by the absmax of their block",
                lambda w, levels, size: (
                    np.abs(w[:, None] - levels).argmin(axis=1),
                    quantized(w, levels, size)[1],
                ),
            ),
            (
                "a number gets the level below it, not the nearest",
                lambda w, levels, size: quantized(
                    w, levels, size, nearest=lambda v, levels: np.maximum(np.searchsorted(levels, v, "right") - 1, 0)
                ),
            ),
            (
                "a number gets the level above it, not the nearest",
                lambda w, levels, size: quantized(
                    w, levels, size, nearest=lambda v, levels: np.minimum(np.searchsorted(levels, v), len(levels) - 1)
                ),
            ),
            (
                "evenly spaced codes are used; the levels are not evenly spaced",
                lambda w, levels, size: quantized(
                    w,
                    levels,
                    size,
                    nearest=lambda v, levels: np.round((v + 1) / 2 * (len(levels) - 1)).astype(int),
                ),
            ),
            (
                "the nearest levels themselves are returned, not their places",
                lambda w, levels, size: (levels[quantized(w, levels, size)[0]], quantized(w, levels, size)[1]),
            ),
            (
                "the signs are lost: the absolute values are compared with the levels",
                lambda w, levels, size: quantized(
                    w, levels, size, nearest=lambda v, levels: np.abs(np.abs(v)[:, None] - levels).argmin(axis=1)
                ),
            ),
            (
                "absmax and codes are returned in the other order",
                lambda w, levels, size: quantized(w, levels, size)[::-1],
            ),
            *OTHER["13.1"],
        ),
        (
            "Take one block at a time: find its largest absolute value, divide by it, look for the nearest level.",
            "np.abs(v[:, None] - levels) has a row for each number and a column for each level. A block of zeros must not be "
            "divided by zero.",
            "for start in range(0, len(w), size): block = w[start : start + size]; the code is the argmin over the levels",
        ),
    ),
    Exercise(
        "13.2",
        "read_back",
        "Read them again",
        "easy",
        5,
        read_cases,
        (
            ("has the shape of codes", read_shape),
            ("equals level times absmax of the block", read_is_right),
        ),
        (
            ("the levels are not multiplied by absmax", lambda codes, absmax, levels, size: levels[codes]),
            (
                "the codes are multiplied by absmax, not the levels",
                lambda codes, absmax, levels, size: codes * np.repeat(absmax, size)[: len(codes)],
            ),
            (
                "the levels are divided by absmax",
                lambda codes, absmax, levels, size: levels[codes] / np.repeat(absmax, size)[: len(codes)],
            ),
            (
                "the first absmax is used for every block",
                lambda codes, absmax, levels, size: levels[codes] * absmax[0],
            ),
            (
                "the blocks take turns number by number; a block is `size` numbers in a row",
                lambda codes, absmax, levels, size: levels[codes] * np.resize(absmax, len(codes)),
            ),
            (
                "the blocks are counted from the wrong place: number i is in block i // size",
                lambda codes, absmax, levels, size: (
                    levels[codes] * absmax[np.minimum((np.arange(len(codes)) + 1) // size, len(absmax) - 1)]
                ),
            ),
        ),
        (
            "levels[codes] gives the level of each number. What is missing?",
            "Number i belongs to block i // size. np.repeat gives each absmax `size` times.",
            "levels[codes] * np.repeat(absmax, size), cut to the length of codes",
        ),
    ),
    Exercise(
        "13.3",
        "bits_per_number",
        "Bits for each number",
        "easy",
        10,
        bit_cases,
        (
            ("counts code and absmax in float32", bits_are_right(slice(0, 2))),
            ("counts code and absmax in 8 bits", bits_are_right(slice(2, None))),
        ),
        (
            ("absmax is not counted", lambda size, second: 4.0),
            (
                "the 32 bits of an absmax are counted for every number: a block shares them",
                lambda size, second: 36.0,
            ),
            (
                "the bits of both absmaxes are counted for every number: a block shares them",
                lambda size, second: 44.0 if second else 36.0,
            ),
            ("an absmax is counted with 4 bytes instead of 32 bits", bits(first=4, second=4)),
            ("an absmax is counted with 16 bits", bits(first=16, second=16)),
            ("the code is not counted", bits(code=0)),
            (
                "double quantization is left out",
                lambda size, second: 4 + 32 / size,
            ),
            (
                "the float32 numbers of the second blocks are left out",
                bits(second=0),
            ),
            (
                "a second block has `second` absmaxes, each of `size` numbers: both sizes divide its 32 bits",
                bits(inner=lambda size, second: second),
            ),
            ("the 8-bit absmaxes are counted as float32 too", bits(eight=40)),
            *OTHER["13.3"],
        ),
        (
            "Share each number's bits among the weights that it serves.",
            "An absmax serves `size` weights; the float32 number of a second block serves `second` absmaxes.",
            "4 + 32 / size, or 4 + 8 / size + 32 over the number of weights under one second block",
        ),
    ),
)
