"""Compare a student's result with the right one, and say in words what is wrong with it."""

import math
from collections.abc import Callable
from decimal import Decimal
from numbers import Real

import numpy as np

from ..autograd import Tensor
from ..gradcheck import numeric_gradient as gradient_of_tensors
from .wire import Unknown

NO_RETURN = "the `return` is missing"


class Wrong(Exception):
    """A property does not hold: the message for the student, and the arguments of the failing call, or None.

    cause: the mistake as one sentence where the message has found it, else "".
    """

    def __init__(self, message, arguments=None, cause=""):
        super().__init__(message)
        self.arguments, self.cause = arguments, cause


def parts(result, names: tuple[str, ...], arguments: tuple | None) -> tuple:
    """The result (a tuple, list or array) as a tuple of as many parts as `names`. Raises Wrong when it is another."""
    if isinstance(result, np.ndarray) and result.ndim and len(result) == len(names):
        return tuple(result)  # an array of two numbers for two numbers
    listed = " and ".join(names) if len(names) < 3 else ", ".join(names)
    if result is None:
        said = f"your function returned None, expected {listed}: is the `return` missing?"
        raise Wrong(said, arguments, NO_RETURN)
    if not isinstance(result, tuple | list) or len(result) != len(names):
        got = f"{len(result)} values" if isinstance(result, tuple | list) else f"a {type(result).__name__}"
        said = f"your function returned {got}, expected {len(names)} values: return {', '.join(names)}"
        raise Wrong(said, arguments, f"the function must return {len(names)} values")
    return tuple(result)


def as_array(value, what: str, arguments: tuple | None):
    """`value` as a float64 array: a number, a list, an array, a Tensor.

    Raises Wrong when it is something else, has nan or infinite values, or too few digits.
    """
    if value is None:
        raise Wrong(f"{what} is None: is the `return` missing?", arguments, NO_RETURN)
    value = plain(value)
    try:
        array = np.asarray(value)
        if array.dtype.kind == "O" and all(isinstance(v, Real | Decimal) for v in array.ravel()):
            array = array.astype(np.float64)  # fractions, or whole numbers too large for NumPy
        if array.dtype.kind not in "fiub":
            raise ValueError
        result = array.astype(np.float64)
    except (ValueError, TypeError):
        said = f"{what} is {_describe(value)}, expected numbers"
        raise Wrong(said, arguments, "the result is of another type than asked") from None
    if not np.isfinite(result).all():
        said = f"{what} has nan or infinite values: is something divided by 0, or the root of a negative number taken?"
        raise Wrong(said, arguments, f"{what} has nan or infinite values")
    if array.dtype == np.float16:
        said = f"{what} is float16, which has only three digits: compute in float32 or float64"
        raise Wrong(said, arguments, "float16 has too few digits")
    return result


def plain(value):
    """A Tensor's array; anything else as it is."""
    return value.numpy() if isinstance(value, Tensor) else value


def flat(result, ordered: bool = True) -> list:
    """A number, an array, or a tuple, list or dict of them, as a list of arrays; names as arrays of texts."""
    if isinstance(result, dict):
        return [np.asarray(k) for k in result] + [a for v in result.values() for a in flat(v)]
    if isinstance(result, tuple):
        return [a for part in result for a in flat(part, ordered=False)]  # several lists of names: in any order
    if isinstance(result, list | set) and any(isinstance(v, str) for v in result):
        return [np.array(result if ordered and isinstance(result, list) else sorted(result))]
    array = np.asarray(plain(result))
    return [array if array.dtype.kind == "c" else array.astype(np.float64)]  # complex: the root of a negative number


def _describe(value):
    shown, kind = repr(value), value.kind if isinstance(value, Unknown) else type(value).__name__
    return f"of type {kind}: {shown if len(shown) < 40 else shown[:37] + '...'}"


def same_shape(got, shape: tuple, what: str, axes: str, arguments: tuple | None) -> None:
    """Raise Wrong unless `got` has `shape`. axes: what the shape means, "(r, in)"."""
    if got.shape != tuple(shape):
        why = _another_shape(got.shape, tuple(shape))
        said = f"{what} has the shape {got.shape}, expected {tuple(shape)}{' ' + axes if axes else ''}"
        sure = why and "size 1" not in why  # an axis of size 1 may have it by chance, in a small case
        raise Wrong(said + (f": {why}" if why else ""), arguments, f"{what}: {why}" if sure else "")


def _another_shape(got, shape):  # what probably happened, "" when nothing tells
    if len(shape) == 2 and got == shape[::-1]:
        return "it is transposed"
    if len(got) < len(shape) and math.prod(got) == math.prod(shape) > 1:
        return "its numbers are laid out flat, give them their shape"
    if len(got) < len(shape):
        return "an axis is missing, was it added up or picked?"
    if len(got) > len(shape):
        return "it has an axis too many"
    if sorted(got) == sorted(shape):
        return "its axes are in another order"
    if all(g == n or n == 1 for g, n in zip(got, shape, strict=True)):
        return "an axis that must have the size 1 is still there in full"
    if 1 not in shape and all(g == n or g == 1 for g, n in zip(got, shape, strict=True)):
        return "an axis is reduced to the size 1"
    if len(set(got)) == 1 < len(got):
        return "it is square: was a vector combined with a column, or a matrix with its own transpose?"
    return ""


def same(
    got,
    expected,
    what: str,
    arguments: tuple | None,
    axes: str = "",
    factors: dict | None = None,
    rtol: float = 1e-5,
    atol: float = 1e-8,
) -> None:
    """Raise Wrong unless `got` equals the array `expected`: first the shape, then the values, with the likely cause.

    factors: {"alpha/r": 2.0}, names for factors by which a wrong result may be off.
    allowed: |got - expected| <= rtol * max|expected| + atol, so that float32 answers pass.
    """
    expected = np.asarray(expected, dtype=np.float64)
    kind = getattr(plain(got), "dtype", None)
    got = as_array(got, what, arguments)
    same_shape(got, expected.shape, what, axes, arguments)
    if not expected.size:
        return
    allowed = rtol * np.abs(expected).max() + atol
    bad = ~(np.abs(got - expected) <= allowed)
    if not bad.any():
        return
    why = _cut_off(kind, got, expected) or _off_by(got, expected, factors or {})
    cause = f"{what}{why}" if why and not why.startswith((ANY_FACTOR, ALL_ZERO)) else ""
    if not expected.ndim:
        raise Wrong(f"{what} is {got:.6g}, expected {expected:.6g}{why}", arguments, cause)
    at = tuple(int(i) for i in np.argwhere(bad)[0])
    place = f"first at {list(at)}: yours {got[at]:.6g}, expected {expected[at]:.6g}"
    raise Wrong(f"{what} has the right shape but wrong values{why}; {place}", arguments, cause)


ANY_FACTOR, ALL_ZERO = ": off by the factor", ": all are zero"  # what may be a chance of these numbers names no mistake


def _cut_off(kind, got, expected):
    """ ": they are int64, ..." where the numbers are right except that their type cannot hold them, else ""."""
    whole = kind is not None and kind.kind in "iu" and np.any(expected % 1) and np.allclose(got, expected, 0, 1.01)
    return f": they are {kind}, whole numbers, so the digits after the point were cut off" if whole else ""


def _off_by(got, expected, factors):
    """ ": off by the factor alpha/r (= 2)" when one factor other than 1 explains the difference."""
    if not got.any():
        return ALL_ZERO if got.ndim else ""
    ratio = float((got * expected).sum() / (expected * expected).sum()) if expected.any() else 0.0
    if not ratio or not np.allclose(got, ratio * expected, 1e-4, 1e-8):
        square = expected.ndim == 2 and expected.shape[0] == expected.shape[1]
        return ": they are transposed" if square and np.allclose(got.T, expected) else ""
    if math.isclose(ratio, -1, rel_tol=1e-4):
        return ": the sign is wrong"
    for name, value in factors.items():
        if value == 1:
            continue
        if math.isclose(abs(ratio), value, rel_tol=1e-4):
            return f": too large by the factor {name} (= {value:.4g})"
        if math.isclose(abs(ratio), 1 / value, rel_tol=1e-4):
            return f": too small by the factor {name} (= {value:.4g})"
    near = math.isclose(ratio, 1, rel_tol=1e-2)
    return f"{ANY_FACTOR} {ratio:.7g} everywhere" if expected.size > 1 and not near else ""


def numeric_gradient(f: Callable, x):  # (array -> number), array -> array like x
    """The gradient of f at x by central differences, in float64."""
    x = Tensor(np.array(x, dtype=np.float64))
    return gradient_of_tensors(lambda t: Tensor(np.float64(f(t.data))), [x], 0, 1.0)


def small(rng: np.random.Generator, *shape: int):  # -> array of `shape`
    """Numbers in ±2 that a student can copy: one decimal, never zero."""
    return rng.integers(1, 20, shape) / 10 * rng.choice([-1.0, 1.0], shape)
