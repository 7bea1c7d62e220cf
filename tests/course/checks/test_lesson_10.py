import math
import struct

import numpy as np
from exercise_answers import Answers

answers = Answers()


@answers.wrong("10.1", says="rounds toward zero")
def cut(x):
    return (x.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


@answers.wrong("10.1", says="always rounded away from zero")
def half_up(x):
    return ((x.view(np.uint32) + np.uint32(0x8000)) & np.uint32(0xFFFF0000)).view(np.float32)


@answers.wrong("10.1", says="rounded to float16")
def other_sixteen_bits(x):
    with np.errstate(over="ignore"):
        return x.astype(np.float16).astype(np.float32)


@answers.wrong("10.1", says="expected numbers")
def gives_a_text(x):
    return "bfloat16"


@answers.wrong("10.1", says="changes its first argument")
def in_place(x):
    u = x.view(np.uint32)
    u += np.uint32(0x7FFF) + ((u >> np.uint32(16)) & np.uint32(1))
    u &= np.uint32(0xFFFF0000)
    return x


@answers.wrong("10.1", says="the nearest bfloat16")
def to_two_digits(x):
    digits = np.floor(np.log10(np.abs(np.where(x == 0, 1, x))))
    return np.where(x == np.round(x * 64) / 64, x, np.round(x / 10**digits, 1) * 10**digits)


@answers.right("10.1")
def with_frexp(x):
    m, e = np.frexp(x)
    return np.ldexp(np.rint(m * 256), e - 8)


@answers.right("10.1")
def between_the_neighbours(x):
    out = []
    for v in x.reshape(-1).tolist():
        low = struct.unpack("<I", struct.pack("<f", v))[0] & 0xFFFF0000
        a, b = (struct.unpack("<f", struct.pack("<I", w))[0] for w in (low, low + 0x10000))
        nearer = a if abs(v - a) < abs(v - b) else b
        if math.isclose(abs(v - a), abs(v - b), rel_tol=0, abs_tol=0):
            nearer = a if (low >> 16) % 2 == 0 else b
        out.append(nearer)
    return np.reshape(out, x.shape)


@answers.wrong("10.2", says="the rounding errors of both steps remain")
def subtract_then_add(W, updates, order):
    W, seen, last = W.copy(), [], None
    for i in order:
        W = (W if last is None else W - updates[last]) + updates[i]
        seen.append(W)
        last = i
    return seen


@answers.wrong("10.2", says="never taken out")
def adds_up(W, updates, order):
    seen = []
    for i in order:
        W = W + updates[i]
        seen.append(W)
    return seen


@answers.wrong("10.2", says="changes its first argument")
def one_array_for_all(W, updates, order):
    seen = []
    for i in order:
        kept = W.copy()
        W += updates[i]
        seen.append(W.copy())
        W[...] = kept
    W += 1e-9 + updates[0]
    return seen


@answers.wrong("10.2", says="float16")
def in_sixteen_bits(W, updates, order):
    W16 = [W.astype(np.float16) + u.astype(np.float16) for u in updates]
    return [W + updates[i] if len(order) == 1 else W16[i] for i in order]


@answers.wrong("10.2", says="expected a list of 1 matrices")
def only_the_last(W, updates, order):
    return W + updates[order[-1]] if len(order) > 1 else []


@answers.right("10.2")
def a_new_array_each_turn(W, updates, order):
    seen = np.empty((len(order), *W.shape), dtype=W.dtype)
    for turn, i in enumerate(order):
        np.add(W, updates[i], out=seen[turn])
    return seen


@answers.right("10.2")
def keeps_the_original_and_puts_it_back(W, updates, order):
    original, live, seen = W.copy(), W.copy(), []
    for i in order:
        live[...] = original
        live += updates[i]
        seen.append(live.tolist())
    return seen


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
