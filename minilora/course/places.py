"""Where a result that is wrong is right: in some cases, in some rows. The last thing to say of an unknown mistake."""

from collections.abc import Iterator

import numpy as np


def right_where(cases: list, parameters: tuple[str, ...], results: list, right: list) -> str | None:
    """One sentence, true of every case, or None.

    cases: the arguments of each; results, right: for each case a list of arrays, or the name of an error.
    """
    good = [not isinstance(got, str) and _all_same(got, wanted) for got, wanted in zip(results, right, strict=True)]
    if any(isinstance(got, str) or len(got) != len(wanted) for got, wanted in zip(results, right, strict=True)):
        return _by_arguments(cases, parameters, good)
    if _all_elsewhere(results, right):
        return "the right results are there, but in other places"
    if said := _by_arguments(cases, parameters, good):
        return said
    for k in range(min(map(len, right))):
        said = _by_place([got[k] for got in results], [wanted[k] for wanted in right])
        if said:
            return said if len(right[0]) == 1 else f"{said}, in the {('first', 'second', 'third', 'fourth')[k]} result"
    return None


def _all_elsewhere(results, right):  # of lists of arrays: each array is one of the right ones
    pairs = [(got, wanted) for got, wanted in zip(results, right, strict=True) if not _all_same(got, wanted)]
    return all(len(got) > 1 and all(any(_same(g, w).all() for w in wanted) for g in got) for got, wanted in pairs)


def _all_same(got, wanted):
    return len(got) == len(wanted) and all(_same(g, w).all() for g, w in zip(got, wanted, strict=True))


def _same(got, wanted):  # -> array of True and False, one for each element; a single False for another shape
    if got.shape != wanted.shape:
        return np.array(False)
    if got.dtype.kind == "U" or wanted.dtype.kind == "U":
        return np.asarray(got == wanted)
    return np.isclose(got, wanted, 1e-5, 1e-9, equal_nan=True)


def _by_arguments(cases, parameters, good):
    """ "the result is right where r is 1, and wrong elsewhere": a condition that holds in the right cases alone."""
    if all(good) or sum(good) < 2:
        return None
    named = [dict(zip(parameters, arguments, strict=False)) for arguments in cases]
    found = [words for words, holds in _conditions(named[0]) if _truths(holds, named) == good]
    return f"the result is right where {found[0]}, and wrong elsewhere" if len(found) == 1 else None


def _truths(condition, named):  # in each case; None where it cannot be asked of all
    try:
        return [bool(condition(arguments)) for arguments in named]
    except (TypeError, AttributeError, KeyError, IndexError, ValueError, ZeroDivisionError):
        return None


def _conditions(arguments) -> Iterator[tuple]:  # (words, function of the arguments by name)
    for a, value in arguments.items():
        if isinstance(value, bool):
            yield f"{a} is False", lambda n, a=a: not n[a]
            yield f"{a} is True", lambda n, a=a: n[a]
        elif isinstance(value, np.ndarray) or value is None:
            yield from _of_arrays(a, "element" if value is not None and value.ndim == 1 else "row")
            if value is not None and value.dtype.kind in "iu":
                yield f"{a} has no negative number", lambda n, a=a: (n[a] >= 0).all()
        elif isinstance(value, int | float):
            yield f"{a} is 1", lambda n, a=a: n[a] == 1
            yield f"{a} is not negative", lambda n, a=a: n[a] >= 0
            yield f"{a} is a whole number", lambda n, a=a: n[a] == int(n[a])
            yield f"{a} is 0", lambda n, a=a: n[a] == 0
        elif isinstance(value, list):
            yield f"{a} has one element", lambda n, a=a: len(n[a]) == 1
            yield f"no element of {a} occurs twice", lambda n, a=a: len(set(map(str, n[a]))) == len(n[a])
    numbers = [a for a, value in arguments.items() if isinstance(value, int | float) and not isinstance(value, bool)]
    for i, a in enumerate(numbers):
        for c in numbers[i + 1 :]:
            yield f"{a} and {c} are equal", lambda n, a=a, c=c: n[a] == n[c]
            if isinstance(arguments[c], int):
                yield f"{c} divides {a} without a rest", lambda n, a=a, c=c: n[a] % n[c] == 0


def _of_arrays(a, row):
    yield f"{a} is None", lambda n: n[a] is None
    yield f"{a} is square", lambda n: n[a].ndim == 2 and n[a].shape[0] == n[a].shape[1]
    yield f"{a} has one {row}", lambda n: n[a].ndim > 0 and len(n[a]) == 1
    yield f"{a} has more than one {row}", lambda n: n[a].ndim > 0 and len(n[a]) > 1
    yield f"{a} has one column", lambda n: n[a].ndim > 1 and n[a].shape[-1] == 1
    yield f"{a} has two axes", lambda n: n[a].ndim == 2
    yield f"{a} has one axis", lambda n: n[a].ndim == 1
    yield f"all numbers of {a} are finite", lambda n: np.isfinite(n[a]).all()
    yield f"{a} has no zero", lambda n: (n[a] != 0).all()


PLACES = (  # (words, which elements of an array of that shape)
    ("only the first row is right", lambda shape: _rows(shape) == 0),
    ("only the last row is right", lambda shape: _rows(shape) == shape[0] - 1),
    ("the first row is wrong, the others are right", lambda shape: _rows(shape) > 0),
    ("the last row is wrong, the others are right", lambda shape: _rows(shape) < shape[0] - 1),
    ("only the first two rows are right", lambda shape: _rows(shape) < 2),
    ("only the first column is right", lambda shape: _columns(shape) == 0),
    ("the last column is wrong, the others are right", lambda shape: _columns(shape) < shape[1] - 1),
    ("the first column is wrong, the others are right", lambda shape: _columns(shape) > 0),
    ("only the diagonal is right", lambda shape: _rows(shape) == _columns(shape)),
    ("the diagonal is wrong, the rest is right", lambda shape: _rows(shape) != _columns(shape)),
)


def _rows(shape):
    return np.broadcast_to(np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1)), shape)


def _columns(shape):
    return np.broadcast_to(np.arange(shape[1]).reshape(1, -1, *[1] * (len(shape) - 2)), shape)


def _by_place(results, right):
    """ "only the first row is right", of arrays that are wrong in such a place."""
    wrong = [(g, w) for g, w in zip(results, right, strict=True) if not _same(g, w).all()]
    if not wrong or any(not w.ndim for _, w in wrong):
        return None
    if all(g.shape == w.shape and w.size > 1 for g, w in wrong):
        if all(_same(_in_order(g), _in_order(w)).all() for g, w in wrong):
            return "the rows or elements are right, but in another order"
        for words, where in PLACES:
            if all("column" not in words and "diagonal" not in words or w.ndim > 1 for _, w in wrong) and all(
                np.array_equal(_same(g, w), where(w.shape)) for g, w in wrong
            ):
                return words if wrong[0][1].ndim > 1 else words.replace("row", "element")
        if all(len(np.unique(w, axis=0)) == len(w) and _from(g, w) for g, w in wrong):
            return "each row or element is a right one, but of another place"
    elif all(g.ndim == w.ndim and len(g) < len(w) and g.shape[1:] == w.shape[1:] for g, w in wrong):
        if all(_same(g, w[: len(g)]).all() for g, w in wrong):
            return "the last rows or elements are missing"
        if all(_from(g, w) for g, w in wrong):
            return "some rows or elements are missing"
    return None


def _from(got, wanted):  # every row is one of the right ones
    return all(any(_same(row, other).all() for other in wanted) for row in got)


def _in_order(array):  # its rows, sorted
    rows = array.reshape(len(array), -1)
    return rows[np.lexsort(rows.T[::-1])]
