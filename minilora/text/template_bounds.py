"""Bounds on what a chat template may do: a template is a program from a file, which may loop or compute for ever."""

import functools
import json
import re
import time

from jinja2 import nodes, pass_environment
from jinja2.exceptions import SecurityError
from jinja2.filters import make_attrgetter
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

STEPS = 1_000_000  # rounds of loops, calls and filters of one rendering
PARTS = 10  # of a list that is made count as one step
SECONDS = 10.0  # of one rendering; a long conversation takes milliseconds
TEXT = 10_000_000  # characters of a text
SIZE = 100_000  # of a number that says how long a text becomes
LONGEST_SPACE = 1000  # characters of an indent or a separator in JSON
BITS = 10_000  # of a whole number


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox with a bound on steps, seconds and sizes. Nothing is computed while a template is compiled."""

    intercepted_binops = frozenset(["+", "*", "%", "**"])

    def __init__(self, **options):
        super().__init__(optimized=False, **options)
        self.begin()
        self.globals.pop("lipsum")
        self.globals |= {"_step": lambda: None, "_joined": lambda *parts: self.concat(map(str, parts))}
        self.globals["_made"] = lambda value: value
        self.filters = {name: self._bounded_filter(name, f) for name, f in (self.filters | BOUNDED).items()}
        del self.filters["random"]  # a training could not be repeated

    def begin(self) -> None:
        """Count from zero: a rendering begins."""
        self.steps, self.until = 0, time.monotonic() + SECONDS

    def count(self, steps: float = 1) -> None:
        self.steps += steps
        if self.steps > STEPS or time.monotonic() > self.until:
            raise SecurityError("it does not end, or takes too long")

    def _parse(self, source, name, filename):
        tree = _Counted().visit(super()._parse(source, name, filename))
        return tree.set_environment(self)

    def call(__self, __context, __obj, *args, **kwargs):  # a template may name an argument "self"
        __self.count()
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str | list | int):
            _check_sizes([*args, *kwargs.values()])
            _check_format(owner)
            if isinstance(owner, str):
                args = _countable(args)
                _check_growth(__obj.__name__, owner, [*args, *kwargs.values()])
        return __self._checked(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context, operator, left, right):
        self.count()
        if isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() * abs(right) if operator == "**" else left.bit_length() + right.bit_length()
            _refuse(bits > BITS)
        elif operator == "*":
            for many, times in ((left, right), (right, left)):
                if isinstance(many, str | list | tuple) and isinstance(times, int):
                    _refuse(len(many) * times > TEXT)
        elif operator == "%":
            _check_format(left)
        return self._checked(super().call_binop(context, operator, left, right))

    def _checked(self, value):
        """The value, when it is not too large to be written or compared: a list may hold one part many times."""
        waiting, characters = [value], 0
        while waiting:
            part = waiting.pop()
            if isinstance(part, str):
                characters += len(part)
                _refuse(characters > TEXT)
            elif isinstance(part, bytes):  # their methods have no bounds here
                raise SecurityError("it makes bytes, expected text")
            elif isinstance(part, list | tuple | dict):
                self.count(len(part) / PARTS)
                waiting += [*part, *part.values()] if isinstance(part, dict) else part
        return value

    @staticmethod
    def concat(parts) -> str:
        found, length = [], 0
        for part in parts:
            length += len(part)
            _refuse(length > TEXT)
            found.append(part)
        return "".join(found)

    def _bounded_filter(self, name, inner):
        own = 2 if hasattr(inner, "jinja_pass_arg") else 1  # arguments that are not the template's

        @functools.wraps(inner)
        def bounded(*args, **kwargs):
            self.count()
            _check_sizes([*args[own:], *kwargs.values()])
            _check_format(args[own - 1])
            if name in GROWING:
                args = _countable(args)
                value, others = args[own - 1], [*args[own:], *kwargs.values()]
                if name == "join":  # the method of the separator
                    value, others = str(others[0]) if others else "", [value]
                _check_growth(name, value, others)
            return self._checked(inner(*args, **kwargs))

        return bounded


@pass_environment
def _sum(environment, values, attribute=None, start=0):
    """jinja's filter, with each addition counted: the sum of lists copies all that it has so far."""
    for value in values if attribute is None else map(make_attrgetter(environment, attribute), values):
        start = environment.call_binop(None, "+", start, value)
    return start


def _to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False) -> str:
    """The filter as transformers has it; with its own indent and separators it is written, and counted, in parts."""
    encoder = json.JSONEncoder(ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    if indent is None and separators is None:
        return encoder.encode(value)
    _refuse(any(isinstance(part, str) and len(part) > LONGEST_SPACE for part in (indent, *(separators or ()))))
    return BoundedEnvironment.concat(encoder.iterencode(value))


BOUNDED = {"sum": _sum, "tojson": _to_json}
GROWING = ("replace", "join", "indent", "expandtabs", "translate", "wordwrap")


def _countable(values) -> list:  # generators among them become lists
    return [list(v) if hasattr(v, "__next__") else v for v in values]


def _check_growth(name, text, others) -> None:
    """Refuse a method of text that would make a much longer one, or copy it very often, before it does."""
    text, size = str(text), 0
    if name == "replace" and len(others) > 1:
        size = text.count(str(others[0])) * len(str(others[1]))
    elif name == "join" and hasattr(others[0], "__len__"):
        size = len(others[0]) * len(text)
    elif name == "translate" and isinstance(others[0], dict):
        size = len(text) * max((len(str(v)) for v in others[0].values()), default=0)
    elif name in ("indent", "expandtabs") and others:
        width = others[0] if isinstance(others[0], int) else len(str(others[0]))
        size = text.count("\n" if name == "indent" else "\t") * width
    elif name == "wordwrap":  # copies the rest of the text for every line
        size = len(text) ** 2 // 1000
    _refuse(size > TEXT)


class _Counted(NodeTransformer):
    """A call at the start of every round of a loop, so that it is counted. `~`, lists and such become calls too."""

    def visit_For(self, node):  # the name is jinja's
        node.body.insert(0, nodes.ExprStmt(_call("_step", [], node), lineno=node.lineno))
        return self.generic_visit(node)

    def visit_Concat(self, node):
        return _call("_joined", [self.visit(part) for part in node.nodes], node)

    def visit_List(self, node):
        return _call("_made", [self.generic_visit(node)], node)

    visit_Dict = visit_List

    def visit_Tuple(self, node):  # the names in `for a, b in` are one too
        return _call("_made", [self.generic_visit(node)], node) if node.ctx == "load" else self.generic_visit(node)


def _call(name: str, arguments: list, at) -> nodes.Call:
    return nodes.Call(nodes.Name(name, "load"), arguments, [], None, None, lineno=at.lineno)


def _refuse(too_large: bool) -> None:
    if too_large:
        raise SecurityError("it makes a text or a number that is too large")


def _check_sizes(values) -> None:
    _refuse(any(isinstance(v, int) and abs(v) > SIZE for v in values))


def _check_format(text) -> None:
    """Refuse a width of five digits or more, or one that is given beside it, as in `%*d`."""
    _refuse(isinstance(text, str) and len(text) < 1000 and bool(re.search(r"[%{][^}]{0,20}?(\d{6}|\*)", text)))
