"""Mistakes around a right answer: its result is changed, or one of its arguments, or an argument is returned.

Each is a sentence and a function, made from the course's own solution.
"""

from collections.abc import Callable, Iterator

import numpy as np


def outcomes(solution: Callable, parameters: tuple[str, ...], parts: int) -> Iterator[tuple[str, Callable]]:
    """(sentence, function) for the mistakes around `solution`, which has these parameters.

    parts: how many values it returns as a tuple, 0 when it returns one that is none.
    """
    for i, name in enumerate(parameters):
        yield f"{name} is returned", _nth(i)
        for sentence, change in WITH_AN_ARGUMENT:
            yield sentence.format(y="the result", a=name), _with_argument(solution, i, change)
        for value in (True, False, 0, 1):
            yield f"{name} is ignored, as if it were always {value}", _with_fixed(solution, i, value)
        for value in (1e-3, 1e-5, 1e-7):
            yield f"{name} is ignored: another small number is in its place", _with_fixed(solution, i, value)
        for k, other in enumerate(parameters):
            for words, size in (("rows", _rows), ("columns", _columns)):
                yield f"the number of {words} of {other} is used in place of {name}", _with_size(solution, i, k, size)
        yield f"{name} is ignored, as if all its values were 1", _with_changed(solution, i, np.ones_like)
        yield f"only the signs of {name} are used", _with_changed(solution, i, np.sign)
        for k, other in enumerate(parameters):
            yield f"{other} is used in place of {name}", _with_argument_of(solution, i, k)
        for k in range(i):
            yield f"{parameters[k]} and {name} are exchanged", _with_exchanged(solution, k, i)
    for sentence, change in RESULTS:
        yield sentence.format(y="the result"), _after(solution, change)
    for k in range(parts):
        part = f"the {('first', 'second', 'third', 'fourth')[k]} result"
        for sentence, change in RESULTS:
            yield sentence.format(y=part), _replaced(solution, k, _part_after(solution, k, change))
        for i, name in enumerate(parameters):
            yield f"{name} is returned as {part}", _replaced(solution, k, _nth(i))
            for sentence, change in WITH_AN_ARGUMENT:
                sentence = sentence.format(y=part, a=name)
                yield sentence, _replaced(solution, k, _part_with(solution, k, i, change))
        yield f"{part} is always empty", _replaced(solution, k, _empty)
        yield f"{part} is left out", _without(solution, k)


def _sized(size, power):
    return lambda y, a: y * size(a) ** power


def _rows(a):
    return len(a) if np.ndim(a) else 1


def _columns(a):
    return np.shape(a)[-1]


WITH_AN_ARGUMENT = (  # how a result y that is right and an argument a may be mixed
    ("{a} is added to {y}", lambda y, a: y + a),
    ("{a} is subtracted from {y}", lambda y, a: y - a),
    ("{y} is subtracted from {a}", lambda y, a: a - y),
    ("{y} is multiplied by {a}", lambda y, a: y * a),
    ("{y} is divided by {a}", lambda y, a: y / a),
    ("{a} is divided by {y}", lambda y, a: a / y),
    ("{y} is multiplied by the root of {a}", lambda y, a: y * a**0.5),
    ("{y} is divided by the root of {a}", lambda y, a: y / a**0.5),
    ("{y} is divided by the square of {a}", lambda y, a: y / a**2),
    ("{y} is divided by the number of rows of {a}", _sized(_rows, -1.0)),
    ("{y} is divided by the number of columns of {a}", _sized(_columns, -1.0)),
    ("{y} is divided by the number of elements of {a}", _sized(np.size, -1.0)),
    ("{y} is multiplied by the number of rows of {a}", _sized(_rows, 1.0)),
    ("{y} is multiplied by the number of columns of {a}", _sized(_columns, 1.0)),
    ("{y} is multiplied by the root of the number of columns of {a}", _sized(_columns, 0.5)),
    ("{y} is divided by the root of the number of columns of {a}", _sized(_columns, -0.5)),
    ("{y} is multiplied by the root of the number of rows of {a}", _sized(_rows, 0.5)),
    ("{y} is divided by the root of the number of rows of {a}", _sized(_rows, -0.5)),
    ("{y} is multiplied by {a} once more, as matrices are", lambda y, a: y @ a),
    ("{y} is at most {a}", np.minimum),
    ("{y} is at most the smallest side of {a}", lambda y, a: min(y, min(min(shape) for shape in a))),
)

RESULTS = (  # what may happen to a result that is right
    ("the sign of {y} is wrong", lambda y: -y),
    ("{y} has lost its signs", np.abs),
    ("{y} is squared", lambda y: y**2),
    ("the root of {y} is taken", lambda y: y**0.5),
    ("{y} is upside down: 1 is divided by it", lambda y: 1 / y),
    ("{y} is rounded to whole numbers", np.round),
    ("{y} is rounded down to whole numbers", np.floor),
    ("{y} is rounded up to whole numbers", np.ceil),
    ("{y} is rounded to two digits", lambda y: np.round(y, 2)),
    ("{y} is rounded to three digits", lambda y: np.round(y, 3)),
    ("{y} has no negative numbers", lambda y: np.maximum(y, 0)),
    ("{y} is never less than 1", lambda y: max(y, 1)),
    ("{y} is divided by 8", lambda y: y // 8),
    ("{y} is divided by 1,000", lambda y: y // 1000),
    ("{y} is divided by 1,024", lambda y: y // 1024),
    ("{y} is rounded down to an even number", lambda y: y // 2 * 2),
    ("the exponential of {y} is taken", np.exp),
    ("{y} is transposed", lambda y: np.asarray(y).T),
    ("{y} is laid out flat, without its shape", lambda y: np.ravel(y)),
    ("{y} is added up to one number", np.sum),
    ("the mean of {y} is taken", np.mean),
    ("{y} is added up over its first axis", lambda y: np.sum(y, axis=0)),
    ("{y} is added up over its last axis", lambda y: np.sum(y, axis=-1)),
    ("{y} is averaged over its first axis", lambda y: np.mean(y, axis=0)),
    ("{y} has only its first row or element", lambda y: y[0]),
    ("{y} has only its last row or element", lambda y: y[-1]),
    ("{y} has only its diagonal", lambda y: np.diag(y)),
    ("{y} is put into a list", lambda y: [y]),
    ("{y} is reversed", lambda y: y[::-1]),
    ("the last element of {y} is missing", lambda y: y[:-1]),
    ("the first element of {y} is missing", lambda y: y[1:]),
    ("{y} is filled with zeros", np.zeros_like),
    ("{y} is filled with ones", np.ones_like),
    ("the number of elements is returned instead of {y}", len),
    ("{y} is added up cumulatively", lambda y: np.cumsum(y, axis=0)),
    ("{y} has too few digits: float16", lambda y: np.asarray(y).astype(np.float16).astype(np.float32)),
)


def _nth(i):
    return lambda *a: a[i]


def _each(y, change):  # on every part of a tuple, on a result that is none
    return tuple(change(part) for part in y) if isinstance(y, tuple) else change(y)


def _with_argument(solution, i, change):
    return lambda *a: _each(solution(*a), lambda y: change(y, a[i]))


def _with_fixed(solution, i, value):
    return lambda *a: solution(*a[:i], value, *a[i + 1 :])


def _with_size(solution, i, k, size):
    def answer(*a):
        if np.ndim(a[i]) or isinstance(a[i], list | tuple | dict) or not np.ndim(a[k]):
            return None  # only a number can be mistaken for the size of an array
        return solution(*a[:i], size(a[k]), *a[i + 1 :])

    return answer


def _with_changed(solution, i, change):
    return lambda *a: solution(*a[:i], change(a[i]), *a[i + 1 :])


def _with_argument_of(solution, i, k):
    return lambda *a: solution(*a[:i], a[k], *a[i + 1 :])


def _with_exchanged(solution, k, i):
    return lambda *a: solution(*a[:k], a[i], *a[k + 1 : i], a[k], *a[i + 1 :])


def _after(solution, change):
    return lambda *a: _each(solution(*a), change)


def _part_after(solution, k, change):
    return lambda *a: change(solution(*a)[k])


def _part_with(solution, k, i, change):
    return lambda *a: change(solution(*a)[k], a[i])


def _empty(*a):
    return []


def _replaced(solution, k, function):  # one part of a tuple is another
    def answer(*a):
        y = solution(*a)
        return (*y[:k], function(*a), *y[k + 1 :])

    return answer


def _without(solution, k):
    def answer(*a):
        y = solution(*a)
        rest = (*y[:k], *y[k + 1 :])
        return rest[0] if len(rest) == 1 else rest

    return answer


def constant(got: list, expected: list) -> str:
    """The sentence for results that are all the right ones times, or plus, one number; "" for others.

    got, expected: lists of arrays, the results of every case.
    """
    if [g.shape for g in got] != [e.shape for e in expected]:
        return ""
    g, e = (np.concatenate([a.ravel() for a in arrays]) for arrays in (got, expected))
    if len(g) < 2 or g.dtype.kind == "U" or not np.isfinite(g).all() or not e.any():
        return ""
    factor, difference = float(g @ e / (e @ e)), float((g - e).mean())
    if factor and np.allclose(g, factor * e, 1e-7, 1e-9):
        return f"every result is {factor:.4g} times the right one"
    if np.allclose(g, e + difference, 1e-7, 1e-9):
        return f"every result is {difference:+.4g} away from the right one"
    return ""
