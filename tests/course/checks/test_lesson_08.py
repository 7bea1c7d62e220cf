import numpy as np
from exercise_answers import Answers

answers = Answers()


@answers.wrong("8.1", says="only A is counted")
def only_A(shapes, r):
    return sum(r * n for _, n in shapes)


@answers.wrong("8.1", says="every matrix is counted as square")
def square(shapes, r):
    return sum(2 * r * n for _, n in shapes)


@answers.wrong("8.1", says="W is counted instead")
def full(shapes, r):
    return sum(int(np.prod(s)) for s in shapes)


@answers.wrong("8.1", says="only the first matrix")
def returns_too_early(shapes, r):
    total = 0
    for out, n in shapes:
        total += r * (out + n)
        return total


@answers.wrong("8.1", says="4096 x 4096, rank 16: expected 131,072")
def rounded(shapes, r):
    total = sum(r * (out + n) for out, n in shapes)
    return total if total < 1000 else round(total, -3)


@answers.right("8.1")
def numpy_sum(shapes, r):
    return np.sum(shapes) * r


@answers.right("8.1")
def builds_them(shapes, r):
    return sum(np.empty((r, n)).size + np.empty((out, r)).size for out, n in shapes)


@answers.wrong("8.2", says="a frozen number gets a gradient")
def gradients_for_all(frozen, trained, width):
    return frozen * 2 * width + trained * 16


@answers.wrong("8.2", says="gradients are forgotten")
def no_gradients(frozen, trained, width):
    return frozen * width + trained * 12


@answers.wrong("8.2", says="Adam's m and v are forgotten")
def plain_descent(frozen, trained, width):
    return frozen * width + trained * 8


@answers.wrong("8.2", says="they take memory")
def only_trained(frozen, trained, width):
    return trained * 16


@answers.wrong("8.2", says="width of the frozen ones")
def one_width(frozen, trained, width):
    return (frozen + 4 * trained) * width


@answers.right("8.2")
def item_by_item(frozen, trained, width):
    items = {"weights": frozen * width + trained * 4, "gradients": trained * 4, "m": trained * 4, "v": trained * 4}
    return float(sum(items.values()))


@answers.right("8.2")
def with_array_sizes(frozen, trained, width):
    return np.int64(frozen) * width + np.int64(trained) * np.dtype(np.float32).itemsize * 4


@answers.wrong("8.1", says="it needs parentheses")
def without_parentheses(shapes, r):
    return sum(r * out + n for out, n in shapes)


@answers.wrong("8.1", says="matrices of equal shape are counted once")
def each_shape_once(shapes, r):
    return r * sum(out + n for out, n in set(shapes))


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
