"""Lesson 8: counting."""

from ..compare import Wrong, as_array
from ..judge import Exercise
from .mistakes import OTHER

# ---- 8.1


def count_cases():
    return [([(3, 2)], 1), ([(3, 2), (4, 2)], 3), ([(4096, 4096)], 16), ([(4096, 4096), (1024, 4096)] * 32, 8),
            ([(5, 1), (1, 7), (2, 9)], 3), ([(3, 3)], 2), ([(2, 2), (2, 2)], 5)]  # fmt: skip


def whole(f, c):
    got = as_array(f(*c), "the result", c)
    if got.size != 1:
        raise Wrong(f"expected one number, got an array of shape {got.shape}", c, "several numbers in place of one")
    return float(got.reshape(()))


def equals(expected, tell, which=slice(None)):
    def check(f, cases):
        for c in cases[which]:
            got, wanted = whole(f, c), expected(*c)
            if got != wanted:
                short = c if len(str(c)) < 100 else None
                raise Wrong(f"{tell(*c)}: expected {wanted:,}, yours is {got:,.10g}", short)

    return check


def lora(shapes, r):
    return sum(r * (out + n) for out, n in shapes)


def tell_count(shapes, r):
    some = ", ".join(f"{out} x {n}" for out, n in shapes[:2]) + (f" and {len(shapes) - 2} more" if shapes[2:] else "")
    return f"{some}, rank {r}"


# ---- 8.2


def memory_cases():
    return [(100, 0, 4), (0, 100, 4), (1000, 10, 4), (1000, 10, 2), (8_030_261_248, 6_815_744, 2),
            (7, 3, 1), (5, 2, 4)]  # fmt: skip


def memory(frozen, trained, width, each=16):
    return frozen * width + trained * each


def tell_memory(frozen, trained, width):
    return f"{frozen:,} frozen numbers of {width} bytes, {trained:,} trained"


EXERCISES = (
    Exercise(
        "8.1",
        "lora_parameters",
        "Count like the paper",
        "easy",
        5,
        count_cases,
        (
            ("one matrix, rank 1", equals(lora, tell_count, slice(0, 1))),
            ("two matrices that are not square", equals(lora, tell_count, slice(1, 2))),
            ("4096 x 4096 at rank 16", equals(lora, tell_count, slice(2, 3))),
            ("32 layers of a Llama", equals(lora, tell_count, slice(3, 4))),
            ("other sizes", equals(lora, tell_count, slice(4, None))),
        ),
        (
            ("only A is counted", lambda shapes, r: sum(r * n for _, n in shapes)),
            ("only B is counted", lambda shapes, r: sum(r * out for out, _ in shapes)),
            ("W is counted instead of A and B", lambda shapes, r: sum(out * n for out, n in shapes)),
            ("every matrix is counted as square, 2 · in · r", lambda shapes, r: sum(2 * n * r for _, n in shapes)),
            ("every matrix is counted as square, 2 · out · r", lambda shapes, r: sum(2 * out * r for out, _ in shapes)),
            (
                "A and B are counted as one product, r · out · in",
                lambda shapes, r: sum(r * out * n for out, n in shapes),
            ),
            (
                "the rank multiplies only one of the two sides: it needs parentheses, r * (out + in)",
                lambda shapes, r: sum(r * out + n for out, n in shapes),
            ),
            ("matrices of equal shape are counted once", lambda shapes, r: lora(set(shapes), r)),
            ("only the first matrix is counted", lambda shapes, r: lora(shapes[:1], r)),
            (
                "an r x r matrix is counted too: A is (r, in), not (r, r)",
                lambda shapes, r: sum(r * (out + n) + r * r for out, n in shapes),
            ),
            (
                "the first matrix stands for all: its numbers are multiplied by how many matrices there are",
                lambda shapes, r: lora(shapes[:1], r) * len(shapes),
            ),
            ("W is counted too: it is frozen", lambda shapes, r: lora(shapes, r) + sum(out * n for out, n in shapes)),
            (
                "the counts are returned one by one: they must be added up",
                lambda shapes, r: [lora([s], r) for s in shapes],
            ),
            (
                "the rank is added to both sides and these are multiplied",
                lambda shapes, r: sum((r + out) * (r + n) for out, n in shapes),
            ),
            ("the rank is left out", lambda shapes, r: lora(shapes, 1)),
            ("the rank is squared", lambda shapes, r: lora(shapes, r * r)),
            ("every number is counted twice", lambda shapes, r: 2 * lora(shapes, r)),
            ("the average of both sides is taken", lambda shapes, r: lora(shapes, r) / 2),
            (
                "the rank multiplies only in: it needs parentheses, r * (out + in)",
                lambda shapes, r: sum(out + r * n for out, n in shapes),
            ),
            ("only the largest matrix is counted", lambda shapes, r: max(lora([s], r) for s in shapes)),
            (
                "only the last matrix is counted: is the `return` or the `=` inside the loop?",
                lambda shapes, r: lora(shapes[-1:], r),
            ),
            ("the sides are subtracted instead of added", lambda shapes, r: sum(r * (out - n) for out, n in shapes)),
            ("the smaller of both sides is counted twice", lambda shapes, r: sum(2 * r * min(s) for s in shapes)),
            ("the larger side is counted twice", lambda shapes, r: sum(2 * r * max(s) for s in shapes)),
            (
                "the parameters that LoRA saves are counted, W minus A and B",
                lambda shapes, r: sum(out * n for out, n in shapes) - lora(shapes, r),
            ),
            (
                "the root of out · in stands for out + in",
                lambda shapes, r: sum(r * (out * n) ** 0.5 for out, n in shapes),
            ),
            *OTHER["8.1"],
        ),
        (
            "What shapes do A and B have beside a W of shape (out, in)?",
            "A is (r, in), B is (out, r): r · in + out · r numbers for each matrix.",
            "sum(r * (out + n_in) for out, n_in in shapes)",
        ),
    ),
    Exercise(
        "8.2",
        "training_bytes",
        "Bytes to train",
        "medium",
        10,
        memory_cases,
        (
            ("frozen numbers alone", equals(memory, tell_memory, slice(0, 1))),
            ("trained numbers alone", equals(memory, tell_memory, slice(1, 2))),
            ("both", equals(memory, tell_memory, slice(2, 4))),
            ("Llama 3 8B in 16 bit, rank 16 on q and v", equals(memory, tell_memory, slice(4, 5))),
            ("other sizes", equals(memory, tell_memory, slice(5, None))),
        ),
        (
            ("a frozen number gets a gradient", lambda f, t, w: memory(f, t, 2 * w)),
            ("a frozen number gets everything that a trained one has", lambda f, t, w: f * (w + 12) + t * 16),
            (
                "a trained number gets 12 bytes: the gradients are forgotten, or one of Adam's two means, m and v",
                lambda f, t, w: memory(f, t, w, 12),
            ),
            ("Adam's m and v are forgotten", lambda f, t, w: memory(f, t, w, 8)),
            (
                "the frozen weights are forgotten: they do not learn, but they take memory",
                lambda f, t, w: memory(0, t, w),
            ),
            ("the trained numbers get the width of the frozen ones", lambda f, t, w: memory(f, t, w, 4 * w)),
            (
                "trained numbers take `width` bytes and nothing else: gradient and Adam are forgotten",
                lambda f, t, w: (f + t) * w,
            ),
            ("frozen numbers get the 16 bytes of trained ones", lambda f, t, w: 16 * (f + t)),
            ("frozen numbers always get 4 bytes: the width is ignored", lambda f, t, w: memory(f, t, 4)),
            ("frozen numbers always get 2 bytes: the width is ignored", lambda f, t, w: memory(f, t, 2)),
            (
                "the trained number itself gets `width` bytes: it is float32, 4 bytes",
                lambda f, t, w: memory(f, t, w, w + 12),
            ),
            ("the trained numbers are counted among the frozen ones too", lambda f, t, w: memory(f + t, t, w)),
            ("the trained numbers are subtracted from the frozen ones", lambda f, t, w: memory(f - t, t, w)),
            (
                "bytes and bits are mixed up: 8 times too much for the trained numbers",
                lambda f, t, w: memory(f, t, w, 128),
            ),
            ("bytes and bits are mixed up: everything is 8 times too much", lambda f, t, w: 8 * memory(f, t, w)),
            (
                "only the trained number is counted, 4 bytes: gradient, m and v are forgotten",
                lambda f, t, w: memory(f, t, w, 4),
            ),
            ("a trained number gets 20 bytes, one array of 4 bytes too many", lambda f, t, w: memory(f, t, w, 20)),
            ("the width is left out: a frozen number is counted as one byte", lambda f, t, w: f + 16 * t),
            ("frozen and trained are exchanged", lambda f, t, w: memory(t, f, w)),
            ("numbers are counted, not bytes", lambda f, t, w: f + 4 * t),
            ("gradient, m and v have `width` bytes too: they are float32", lambda f, t, w: memory(f, t, w, 4 + 3 * w)),
            ("the larger of the two is taken instead of the sum", lambda f, t, w: max(f * w, 16 * t)),
            (
                "frozen numbers get 2 bytes and trained ones 4: width, gradient and Adam are ignored",
                lambda f, t, w: 2 * f + 4 * t,
            ),
            *OTHER["8.2"],
        ),
        (
            "Go through the four things that a trained number needs. Which of them does a frozen one need?",
            "Trained: the number, its gradient, Adam's m and v, 4 bytes each. Frozen: the number alone, `width` bytes.",
            "frozen * width + trained * (4 + 4 + 8)",
        ),
    ),
)
