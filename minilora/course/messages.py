"""A student's error in words: the own lines that led to it, the shapes there, and NumPy's errors as one sentence."""

import ast
import linecache
import re
import traceback
from pathlib import Path

import numpy as np


def own_lines(error: BaseException, path: Path, name: str | None = None) -> str:
    """The error and the lines of the student's own file that led to it, without those inside NumPy and minilora.

    name: how to call the file, by default its name; "" for a cell of a notebook.
    """
    file = f"{path.name}, " if name is None else name
    if isinstance(error, SyntaxError | ValueError) and "null bytes" in str(error):  # a ValueError before Python 3.11.4
        return f"{path.name} is not plain text: save it as UTF-8"
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename) == path:
        return f"{file}line {error.lineno}: {(error.text or '').strip()}\n{type(error).__name__}: {error.msg}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path][-4:]
    lines = [f"{file}line {f.lineno}, in {f.name}: {f.line}" for f in frames]
    words = in_words(error)
    text = (str(error).splitlines() or [""])[0][:300]
    shapes = shapes_at(error, path) if isinstance(error, ValueError | IndexError) else []
    return "\n".join([*lines, f"{type(error).__name__}: {words or text}".rstrip(": "), *shapes])


def shapes_at(error, path, most=6):  # -> lines: the shapes of the student's arrays at the error
    tb, names = error.__traceback__, {}
    while tb is not None:
        if Path(tb.tb_frame.f_code.co_filename) == path:
            names = tb.tb_frame.f_locals
        tb = tb.tb_next
    arrays = [f"{name} {value.shape}" for name, value in names.items() if isinstance(value, np.ndarray)][:most]
    return ["the shapes at that line: " + ", ".join(arrays)] if arrays else []


def in_words(error: BaseException) -> str:
    """The error as one plain sentence with the shapes, "" for an error that says it well enough itself."""
    text = str(error)
    where, frame = _failing_expression(error)
    product = "matmul" in text or "not aligned" in text
    if isinstance(where, ast.BinOp) and (product or "could not be broadcast" in text):
        left, right = (_value(side, frame) for side in (where.left, where.right))
        if left is not None and right is not None:
            names = ast.unparse(where.left), ast.unparse(where.right)
            return _product(names, left, right) if product else _broadcast(names, left, right, where.op)
    if product:
        sizes = re.search(r"size (\d+) is different from (\d+)", text)
        which = f": the inner sizes {sizes[2]} and {sizes[1]} differ" if sizes else ""
        return f"the shapes of a matrix product do not fit{which}"
    if "requested shape" in text:  # of np.broadcast_to
        from_, to = re.findall(r"\([\d,]*\)", text)[-2:]
        return f"the shape {from_} cannot be repeated to {to}: broadcasting makes arrays larger, never smaller"
    if "could not be broadcast" in text:
        shapes = " and ".join(re.findall(r"\([\d,]*\)", text))
        return f"arrays of the shapes {shapes} are combined element by element: each size must be equal, or 1"
    for part, words in SENTENCES:
        if part in text:
            return words
    return _python_in_words(error, text)


def _python_in_words(error, text):
    if isinstance(error, NameError):
        name = getattr(error, "name", None) or "a name"
        missing = {"np": "is `import numpy as np` missing?", "math": "is `import math` missing?"}
        return f"{name} is not known here: {missing.get(name, 'is it misspelled, or was it given no value yet?')}"
    if isinstance(error, ModuleNotFoundError):
        return f"there is no module {error.name} here: the exercises need NumPy and what Python has itself"
    if isinstance(error, KeyError):
        return f"the dictionary has no {text[:80]}: ask with `in` first, or use .get"
    if isinstance(error, AttributeError) and getattr(error, "name", None):
        kind = type(error.obj).__name__
        why = ": make an array of it with np.array" if kind in ("list", "tuple", "int", "float") else ""
        return f"a value of type {kind} has no .{error.name}{why}"
    return next((words for kind, words in PYTHON if isinstance(error, kind)), "")


PYTHON = (
    (ZeroDivisionError, "something is divided by 0"),
    (RecursionError, "the function calls itself without an end"),
    (SystemExit, "the code ends Python (exit, quit or sys.exit): return the result instead"),
    (EOFError, "input() waits for somebody at the keyboard: use the arguments instead"),
)


SENTENCES = (  # part of NumPy's or Python's message, the sentence
    ("too many indices for array", "the array has fewer axes than the index asks for: it must work for any shape"),
    ("is out of bounds for axis", "an index or axis is larger than the array allows: positions count from 0"),
    ("is out of bounds for array of dimension", "the array has fewer axes than that: axes count from 0"),
    ("must match exactly", "arrays that are joined must have the same sizes on the other axes"),
    ("cannot reshape array", "reshape keeps the number of elements: the new shape has more or fewer"),
    ("The truth value of an array", "a condition of a whole array is neither true nor false: use np.where, or a loop"),
    ("only length-1 arrays can be converted", "one number is wanted, and an array of several is given"),
    ("only 0-dimensional arrays can be converted", "one number is wanted, and an array of several is given"),
    ("ufunc output", "a result of another type does not fit into the array: y *= 0.5 cannot change whole numbers"),
    ("not support item assignment", "a tuple, a text or a number cannot be changed in place: make a new one"),
    ("NoneType", "something is None here: a function without `return` gives None"),
    ("axes don't match array", "transpose wants each axis of the array once"),
    (
        "positional argument",
        "a function is called with more or fewer arguments than its `def` line has",
    ),
    ("list index out of range", "an index is larger than the list: positions count from 0"),
    ("is not callable", "something that is no function is called: is an operator missing before a parenthesis?"),
    ("values to unpack", "a result has another number of parts than there are names on the left of ="),
    ("cannot unpack", "one value is given where several are unpacked"),
    ("can't multiply sequence by non-int", "a list cannot be multiplied by such a number: make an array with np.array"),
    (
        "unsupported operand type",
        "values of these types cannot be combined by an operator: are both numbers or arrays?",
    ),
    ("is not iterable", "one value is given where a list or an array is walked through"),
    ("is not subscriptable", "an index is used on a value that has none"),
    ("did not contain a loop with signature", "the values are no numbers that NumPy can compute with"),
)


def _failing_expression(error):  # -> (the expression that raised, the frame), or (None, None)
    tb, found = error.__traceback__, None
    while tb is not None:
        if not _inside_library(tb.tb_frame.f_code.co_filename):
            found = tb
        tb = tb.tb_next
    if found is None:
        return None, None
    code, at = found.tb_frame.f_code, found.tb_lasti
    first, last, start, end = list(code.co_positions())[at // 2]
    if None in (first, last, start, end):
        return None, None
    lines = [linecache.getline(code.co_filename, n).encode() for n in range(first, last + 1)]
    if not lines or not lines[-1]:
        return None, None
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][start:]
    try:
        node = ast.parse(b"".join(lines).decode().replace("\n", " ").strip(), mode="exec").body[0]
    except (SyntaxError, UnicodeDecodeError, IndexError):
        return None, None
    if isinstance(node, ast.AugAssign):
        return ast.BinOp(node.target, node.op, node.value), found.tb_frame
    return getattr(node, "value", None), found.tb_frame


def _inside_library(filename):
    parts = Path(filename).parts
    return "site-packages" in parts or "dist-packages" in parts or "minilora" in parts or "<" in filename[:1]


HARMLESS = (
    ast.Name, ast.Load, ast.Store, ast.Attribute, ast.BinOp, ast.UnaryOp, ast.Constant, ast.Subscript, ast.Slice,
    ast.Tuple, ast.operator, ast.unaryop,
)  # fmt: skip


def _value(node, frame):
    """The array that the expression stands for at that line; None when it calls something, so may change something."""
    if not all(isinstance(n, HARMLESS) for n in ast.walk(node)):
        return None
    try:
        value = eval(ast.unparse(node), frame.f_globals, frame.f_locals)
    except Exception:
        return None
    value = value.numpy() if type(value).__name__ == "Tensor" else value  # minilora's, or torch's
    return (
        value if isinstance(value, np.ndarray) else np.asarray(value) if isinstance(value, list | float | int) else None
    )


def _product(names, left, right):
    shown = " @ ".join(f"{name} {value.shape}" for name, value in zip(names, (left, right), strict=True))
    if not left.ndim or not right.ndim:
        return f"{shown}: a single number has no matrix product, multiply by it with *"
    a, b = left.shape[-1], right.shape[-2] if right.ndim > 1 else right.shape[0]
    tried = []
    if right.ndim == 2 and a == right.shape[1]:
        tried.append(_transposed(names[1], right))
    if left.ndim == 2 and left.shape[0] == b:
        tried.append(_transposed(names[0], left))
    return f"{shown}: the inner sizes {a} and {b} differ" + "".join(f"; {t} would fit" for t in tried)


def _transposed(name, array):
    short = name[:-2] if name.endswith(".T") else f"{name}.T" if name.isidentifier() else f"({name}).T"
    return f"{short} is {array.shape[::-1]}, which"


def _broadcast(names, left, right, operator):
    shown = " and ".join(f"{name} {value.shape}" for name, value in zip(names, (left, right), strict=True))
    why = "they are combined element by element, so each size must be equal, or 1"
    if isinstance(operator, ast.Mult) and left.ndim > 1 and right.ndim > 1 and left.shape[-1] == right.shape[-2]:
        why += "; the matrix product is @"
    elif left.ndim == right.ndim == 2 and left.shape == right.shape[::-1]:
        why += "; one of them is transposed"
    return f"{shown} do not fit: {why}"


class Printed:
    """The output of a student's code: keeps the first characters since `clear`, drops the rest.

    While `listening` is False it keeps nothing more.
    """

    def __init__(self, limit):
        self.limit = limit
        self.clear()

    def clear(self):
        self.text, self.full, self.listening = "", False, True

    def write(self, text):
        if self.listening:
            self.full = self.full or len(self.text) + len(text.rstrip()) > self.limit
            self.text += text[: self.limit - len(self.text)]
        return len(text)

    def flush(self):
        pass


def as_code(value) -> str:
    """An argument of a call as Python that can be pasted."""
    if isinstance(value, np.ndarray):
        kind = "" if value.dtype == np.float64 and value.size else f", dtype=np.{value.dtype}"
        return f"np.array({value.tolist()}{kind})"
    if isinstance(value, tuple | list):
        inner = ", ".join(as_code(v) for v in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k!r}: {as_code(v)}" for k, v in value.items()) + "}"
    return repr(value)


def paste(lesson: int, function: str, arguments: tuple | None) -> tuple:
    """The failing call as two lines that can be pasted into Python."""
    if arguments is None:
        return ()
    given = ", ".join(map(as_code, arguments))
    return (
        f"import numpy as np; from lesson_{lesson:02d} import {function}",
        f"print({function}({given}))",
    )
