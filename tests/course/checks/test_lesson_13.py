import math

import numpy as np
from exercise_answers import Answers

answers = Answers()


@answers.wrong("13.1", says="not the largest absolute value")
def forgets_negative_numbers(w, levels, size):
    codes, absmax = [], []
    for at in range(0, len(w), size):
        block = w[at : at + size]
        absmax.append(max(block))
        codes += [int(np.argmin(np.abs(levels - v / (max(block) or 1)))) for v in block]
    return codes, absmax


@answers.wrong("13.1", says="one absmax is used for all blocks")
def one_scale(w, levels, size):
    largest = np.abs(w).max()
    codes = np.abs(w[:, None] / largest - levels).argmin(axis=1)
    return codes, np.full(math.ceil(len(w) / size), largest)


@answers.wrong("13.1", says="not their places")
def returns_the_levels(w, levels, size):
    codes, absmax = whole_blocks_and_the_rest(w, levels, size)
    return levels[codes], absmax


@answers.wrong("13.1", says="ValueError")
def needs_whole_blocks(w, levels, size):
    blocks = w.reshape(-1, size)
    absmax = np.abs(blocks).max(axis=1)
    return np.abs((blocks / absmax[:, None])[..., None] - levels).argmin(axis=-1).ravel(), absmax


@answers.wrong("13.1", says="the level below it")
def next_level_below(w, levels, size):
    absmax = np.array([np.abs(w[at : at + size]).max() for at in range(0, len(w), size)])
    v = w / np.where(absmax > 0, absmax, 1)[np.arange(len(w)) // size]
    return np.digitize(v, levels) - 1, absmax


@answers.wrong("13.1", says="where the second block is all zeros")
def divides_by_zero(w, levels, size):
    absmax = np.array([np.abs(w[at : at + size]).max() for at in range(0, len(w), size)])
    with np.errstate(all="ignore"):
        v = w / absmax[np.arange(len(w)) // size]
    return np.abs(v[:, None] - levels).argmin(axis=1), absmax


@answers.wrong("13.1", says="changes its first argument")
def divides_in_place(w, levels, size):
    absmax = np.array([np.abs(w[at : at + size]).max() for at in range(0, len(w), size)])
    w /= np.where(absmax > 0, absmax, 1)[np.arange(len(w)) // size]
    return np.abs(w[:, None] - levels).argmin(axis=1), absmax


@answers.wrong("13.1", says="codes has the shape")
def codes_alone(w, levels, size):
    return whole_blocks_and_the_rest(w, levels, size)[0]


@answers.right("13.1")
def whole_blocks_and_the_rest(w, levels, size):
    padded = np.concatenate([w, np.zeros(-len(w) % size)]).reshape(-1, size)
    absmax = np.abs(padded).max(axis=1)
    middle = (levels[:-1] + levels[1:]) / 2
    v = padded / np.maximum(absmax, 1e-30)[:, None]
    return np.searchsorted(middle, v.ravel()[: len(w)]), absmax


@answers.right("13.1")
def with_lists(w, levels, size):
    codes, absmax = [], []
    for i in range(0, len(w), size):
        block = w[i : i + size].tolist()
        absmax += [max(map(abs, block))]
        for number in block:
            codes += [
                min(range(len(levels)), key=lambda k: abs(levels[k] * absmax[-1] - number) + abs(levels[k]) * 1e-9)
            ]
    return codes, absmax


@answers.wrong("13.2", says="not multiplied by absmax")
def levels_alone(codes, absmax, levels, size):
    return levels[codes]


@answers.wrong("13.2", says="take turns")
def tiled(codes, absmax, levels, size):
    return levels[codes] * np.tile(absmax, len(codes))[: len(codes)]


@answers.wrong("13.2", says="could not be broadcast")
def not_cut(codes, absmax, levels, size):
    return levels[codes] * np.repeat(absmax, size)


@answers.wrong("13.2", says="divided by absmax")
def divided(codes, absmax, levels, size):
    return levels[codes] / absmax[np.arange(len(codes)) // size]


@answers.right("13.2")
def by_index(codes, absmax, levels, size):
    return np.take(levels, codes) * absmax[np.arange(len(codes)) // size]


@answers.right("13.2")
def one_by_one(codes, absmax, levels, size):
    return [float(levels[int(c)]) * float(absmax[i // size]) for i, c in enumerate(codes)]


@answers.wrong("13.3", says="for every number")
def absmax_for_each(size, second):
    return 4 + 32


@answers.wrong("13.3", says="double quantization is left out")
def never_double(size, second):
    return 4 + 32 / size


@answers.wrong("13.3", says="both sizes divide")
def second_alone(size, second):
    return 4 + 32 / size if second is None else 4 + 8 / size + 32 / second


@answers.wrong("13.3", says="4 bytes instead of 32 bits")
def in_bytes(size, second):
    return 4 + 4 / size if second is None else 4 + 8 / size + 4 / (size * second)


@answers.wrong("13.3", says="the divisions are in whole numbers")
def in_whole_numbers(size, second):
    return 4 + 32 // size if second is None else 4 + 8 // size + 32 // (size * second)


@answers.right("13.3")
def bytes_times_eight(size, second):
    scale = 4 if second is None else 1 + 4 / second
    return 8 * (0.5 + scale / size)


@answers.right("13.3")
def of_a_large_block(size, second):
    groups = second or 1
    numbers = size * groups
    total = 4 * numbers + (32 if second is None else 8 * groups + 32)
    return total / numbers


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
