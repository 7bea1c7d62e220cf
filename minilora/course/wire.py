"""Values between two processes: numbers, texts, arrays and containers of them as JSON, each with its own type.

No pickle: what arrives is data, whoever wrote it. A frame is 8 bytes with its length, then JSON.
"""

import base64
import json
import struct
import sys
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

LONGEST = 2**25  # bytes of a frame: the largest array of an exercise takes a few kilobytes


class Unknown:
    """A value of another type: only its type's name and its text arrive."""

    def __init__(self, kind, text):
        self.kind, self.text = kind, text

    def __repr__(self):
        return self.text


class Formula:
    """A function of one array given as text, so that it can be sent and shown: Formula("np.sin(x).sum()")."""

    def __init__(self, text):
        self.text = text
        self.call = eval(f"lambda x: {text}", {"np": np})  # text written in this package, never a student's

    def __call__(self, x):
        return self.call(x)

    def __repr__(self):
        return f"lambda x: {self.text}"


CONTAINERS = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
VIEWS = (range, type({}.keys()), type({}.values()), type({}.items()))


def encoded(value) -> Any:  # -> what JSON can hold
    """`value` as JSON's own types; everything but None, bool, float and str is a list whose head names the type."""
    if value is None or type(value) in (bool, float, str):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiubcUS":
        return ["array", *_array(value)]
    if isinstance(value, np.generic) and value.dtype.kind in "fiubcUS":
        return ["scalar", *_array(np.asarray(value))]
    if isinstance(value, complex):
        return ["complex", value.real, value.imag]
    for kind in (bool, int, float, str):  # int without a point, and types derived from these
        if isinstance(value, kind):
            return [kind.__name__, str(kind(value))]
    if isinstance(value, Real | Decimal):  # a Fraction
        return float(value)
    whole: Any = value  # of no type that was tried above
    for name, kind in CONTAINERS.items():
        if isinstance(whole, kind):
            return [name, [encoded(v) for v in whole]]
    if isinstance(value, dict):
        return ["dict", [[encoded(k), encoded(v)] for k, v in value.items()]]
    if isinstance(value, VIEWS):
        return ["list", [encoded(v) for v in value]]
    if isinstance(value, Formula):
        return ["formula", value.text]
    if (autograd := sys.modules.get("minilora.autograd")) and isinstance(whole, autograd.Tensor):
        return ["tensor", *_array(whole.numpy())]
    return ["unknown", type(value).__name__, repr(value)[:200]]


def _array(array):
    return array.dtype.str, list(array.shape), base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def decoded(tree) -> Any:
    """The value that `encoded` turned into `tree`. Raises ValueError for a tree that it never makes."""
    if tree is None or isinstance(tree, bool | float | str):
        return tree
    try:
        name, *rest = tree
        if name in ("array", "scalar", "tensor"):
            return _with_values(name, *rest)
        if name in ("int", "float", "str", "bool"):
            return {"int": int, "float": float, "str": str, "bool": "True".__eq__}[name](rest[0])
        if name in CONTAINERS:
            return CONTAINERS[name](decoded(v) for v in rest[0])
        if name == "dict":
            return {decoded(k): decoded(v) for k, v in rest[0]}
        if name == "complex":
            return complex(*rest)
        if name == "unknown":
            return Unknown(str(rest[0]), str(rest[1]))
    except (TypeError, IndexError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a value: {error}") from None
    raise ValueError(f"not a value: {str(tree)[:40]}")


def _with_values(name, kind, shape, text):
    dtype = np.dtype(kind)
    if dtype.kind not in "fiubcUS":
        raise ValueError(f"not a type of numbers: {kind}")
    array = np.frombuffer(base64.b64decode(text), dtype).reshape(shape).copy()
    if name == "tensor":
        from minilora.autograd import Tensor  # the submission's process starts without it

        return Tensor(array)
    return array if name == "array" else array[()]


def formula(tree):
    """`decoded`, for arguments: a formula becomes a function again. Only the judge's own frames are read with it."""
    return Formula(tree[1]) if isinstance(tree, list) and tree[:1] == ["formula"] else decoded(tree)


def frame(message: dict) -> bytes:
    """A message as bytes. Raises ValueError when it is too long."""
    data = json.dumps(message).encode()
    if len(data) > LONGEST:
        raise ValueError("too long")
    return struct.pack(">Q", len(data)) + data


def read_frame(read) -> dict | None:  # read(n) -> at most n bytes, b"" at the end
    """The next message, None at the end of the stream. Raises ValueError for what is no message."""
    head = _exactly(read, 8)
    if head is None:
        return None
    (length,) = struct.unpack(">Q", head)
    if length > LONGEST:
        raise ValueError("too long")
    data = _exactly(read, length)
    if data is None:
        return None
    try:
        message = json.loads(data)
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(message, dict):
        raise ValueError("not a message")
    return message


def _exactly(read, n):
    data = bytearray()
    while len(data) < n:
        more = read(min(n - len(data), 2**20))
        if not more:
            return None
        data += more
    return bytes(data)
