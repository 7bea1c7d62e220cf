"""What one number in every case tells: by which term a count is too large, or by which factor a result."""

import itertools
import math

import numpy as np

POWERS = {
    0.5: "the root of {}",
    1.0: "{}",
    1.5: "{} times its root",
    2.0: "the square of {}",
    1 / 3: "the cube root of {}",
}


def explain(cases: list, parameters: tuple[str, ...], got: list, expected: list) -> str:
    """One sentence for the difference of two lists of numbers, one of each case; "" when no short one is true.

    cases: the arguments of every case; got, expected: lists of arrays.
    """
    if len(got) != len(expected) or any(a.dtype.kind == "U" for a in [*got, *expected]):
        return ""
    if any(a.size != 1 for a in [*got, *expected]):
        return _by_sizes(cases, parameters, got, expected)
    y, right = (np.array([float(a.reshape(())) for a in numbers]) for numbers in (got, expected))
    known = [_quantities(parameters, c) for c in cases]
    names = [n for n in known[0] if all(n in k for k in known)]
    if len(cases) < 4 or not names or not (np.isfinite(y).all() and np.isfinite(right).all()):
        return ""
    values = {n: np.array([k[n] for k in known], dtype=np.float64) for n in names}
    return _by_terms(y - right, right, values) or _by_factors(y, right, values)


def _by_sizes(cases, parameters, got, expected):
    """Of arrays that are the right ones, each times a number: what that number is."""
    pairs = list(zip(got, expected, strict=True))
    if len(pairs) != len(cases) or len(cases) < 4:
        return ""
    if any(g.shape != e.shape or not e.any() or not np.isfinite([g, e]).all() for g, e in pairs):
        return ""
    factors = np.array([float((g * e).sum() / (e * e).sum()) for g, e in pairs])
    if not all(f and np.allclose(g, f * e, 1e-6, 1e-9) for f, (g, e) in zip(factors, pairs, strict=True)):
        return ""
    known = [_quantities(parameters, c) | _sizes(parameters, c) for c in cases]
    values = {n: np.array([k[n] for k in known], dtype=np.float64) for n in known[0] if all(n in k for k in known)}
    said = _by_factors(factors, np.ones(len(factors)), values) if (factors > 0).all() else ""
    return said or "each result is the right one times a number that is another in each case: look for a factor"


def _quantities(
    parameters, arguments
):  # -> {name: number}: the numbers among the arguments, and sums of lists of pairs
    found = {}
    for name, value in zip(parameters, arguments, strict=False):
        if isinstance(value, int | float):
            found[name] = float(value)
        elif isinstance(value, list) and value and all(isinstance(v, tuple) and len(v) == 2 for v in value):
            found[f"the number of {name}"] = len(value)
            found[f"the sum of the first numbers of {name}"] = sum(a for a, _ in value)
            found[f"the sum of the second numbers of {name}"] = sum(b for _, b in value)
            found[f"the sum of the products in {name}"] = sum(a * b for a, b in value)
    return found


def _sizes(parameters, arguments):  # -> {"the number of rows of x": 3.0}
    arrays = [(name, np.shape(value)) for name, value in zip(parameters, arguments, strict=False) if np.ndim(value)]
    rows = {f"the number of rows of {name}": float(shape[0]) for name, shape in arrays}
    return rows | {f"the number of columns of {name}": float(shape[-1]) for name, shape in arrays if len(shape) > 1}


def _by_terms(difference, right, values):
    """ "the result is too large by 2 · layers · d": a difference of one term or two, with small whole coefficients."""
    terms = {}
    for size in (1, 2, 3):
        for chosen in itertools.combinations_with_replacement(values, size):
            terms[chosen] = math.prod(values[n] for n in chosen)
    weight = 1 / (np.abs(right) + 1)  # a count of billions and a count of ten weigh the same
    d = difference * weight
    chosen = [c for c, column in terms.items() if column.any()]
    M = np.stack([terms[c] * weight for c in chosen], axis=1)  # (cases, terms)
    for i, j in _pairs(M, d):
        columns = M[:, [i, j]] if i != j else M[:, [i]]
        whole = np.round(np.linalg.lstsq(columns, d, rcond=None)[0])
        if whole.all() and np.abs(whole).max() <= 128 and np.allclose(columns @ whole, d, 1e-9, 1e-12):
            found = zip(whole, (chosen[i], chosen[j]), strict=False)
            parts = [f"too {'large' if c > 0 else 'small'} by {_term(abs(c), names)}" for c, names in found]
            return f"the result is {' and '.join(parts)}"
    return ""


def _pairs(M, d):
    """The columns of M, or pairs of them, whose best combination leaves nothing of d; (i, i) is a column alone."""
    square, along, whole = M.T @ M, M.T @ d, float(d @ d)
    size = np.diag(square)
    yield from ((i, i) for i in np.flatnonzero(whole - along**2 / size <= 1e-9 * whole))
    with np.errstate(divide="ignore", invalid="ignore"):
        det = np.outer(size, size) - square**2
        explained = (
            np.outer(along**2, size) + np.outer(size, along**2) - 2 * np.outer(along, along) * square
        ) / np.where(det > 1e-9 * np.outer(size, size), det, np.nan)
    yield from ((i, j) for i, j in np.argwhere(whole - explained <= 1e-6 * whole) if i < j)


def _term(factor, names):
    return " · ".join([*([f"{factor:g}"] if factor != 1 else []), *names])


def _by_factors(y, right, values):
    """ "the result is too large by the factor √r", where it is wrong; there are right cases too."""
    wrong = ~np.isclose(y, right, 1e-9)
    if wrong.sum() < 2 or not (y[wrong] * right[wrong] > 0).all():
        return ""
    ratio = np.log(y[wrong] / right[wrong])
    logs = {n: np.log(v[wrong]) for n, v in values.items() if (v[wrong] > 0).all() and np.ptp(v[wrong]) > 0}
    single = [({n: p}, p * log) for n, log in logs.items() for q in POWERS for p in (q, -q)]
    double = [({**a, **b}, x + z) for (a, x), (b, z) in itertools.combinations(single, 2) if a.keys() != b.keys()]
    for powers, log in [*single, *double]:
        if np.allclose(ratio, log, 0, 1e-6):
            by = [(p > 0, POWERS[abs(p)].format(n)) for n, p in powers.items()]
            parts = [f"too {'large' if up else 'small'} by the factor {factor}" for up, factor in by]
            return f"{'where it is wrong, ' if not wrong.all() else ''}the result is {' and '.join(parts)}"
    return ""
