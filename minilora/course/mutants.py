"""Mistakes made by machine: the course's own solution with one thing changed, and a plain sentence for each change.

A mistake that nobody wrote down is still named when one change of the solution makes it: another operator, an operand
left out, a transpose forgotten, two results exchanged. The results are compared, never the texts.
"""

import ast
import contextlib
import copy
import functools
import warnings
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType

from ..files.shipped import shipped

OPERATORS = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.MatMult: "@", ast.Pow: "**",
    ast.BitAnd: "&", ast.BitOr: "|", ast.LShift: "<<", ast.RShift: ">>",
}  # fmt: skip
COMPARED = {
    ast.Gt: ">", ast.GtE: ">=", ast.Lt: "<", ast.LtE: "<=", ast.Eq: "==", ast.NotEq: "!=", ast.In: "in",
    ast.NotIn: "not in",
}  # fmt: skip
OTHER_COMPARISONS = {
    ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt, ast.LtE), ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.GtE),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
OTHER_CALLS = {
    "sum": ("mean", "max", "min", "prod"), "mean": ("sum", "median", "max", "min"), "max": ("min", "mean"),
    "min": ("max",), "std": ("var", "max", "ptp"), "var": ("std",), "vstack": ("hstack",), "hstack": ("vstack",),
    "argmax": ("argmin",), "argmin": ("argmax",), "sqrt": ("square", "cbrt"), "square": ("sqrt",),
    "exp": ("expm1", "exp2"),     "cumsum": ("cumprod",), "floor": ("ceil", "round"), "ceil": ("floor", "round"), 
    "round": ("floor", "ceil"),
    "tril": ("triu",), "triu": ("tril",), "maximum": ("minimum",), "minimum": ("maximum",), "zeros": ("ones",),
    "log": ("log2", "log10"), "log2": ("log", "log10"), "tanh": ("sin",), "sin": ("cos",), "cos": ("sin",),
    "any": ("all",),     "all": ("any",), "abs": ("square",),
}  # fmt: skip


@functools.lru_cache(maxsize=64)
def mutants(lesson: int, name: str) -> tuple[tuple[str, Callable], ...]:
    """(sentence, function) for every mistake that one change of the solution `name` of a lesson makes."""
    source = shipped(f"lessons/solutions/lesson_{lesson:02d}.py").read_text(encoding="utf-8")
    module = ast.parse(source)
    namespace = {"__name__": f"solutions_{lesson:02d}"}
    exec(compile(module, "<solution>", "exec"), namespace)  # the course's own text
    tree = next(node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == name)
    found: dict[CodeType, tuple[str, Callable]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # of a change that makes no sense
        for sentence in changes(tree):
            with contextlib.suppress(SyntaxError):
                code = _code(tree)
                if code not in found:
                    found[code] = sentence, FunctionType(code, namespace, name)
    return tuple(found.values())


def _code(tree):  # the code of the function, as it is now
    module = compile(ast.fix_missing_locations(ast.Module([tree], type_ignores=[])), "<mutant>", "exec")
    return next(c for c in module.co_consts if isinstance(c, CodeType))


def changes(tree: ast.FunctionDef) -> Iterator[str]:
    """Make one change after another in `tree`, yield its sentence while it is there, and take it back."""
    words = Words(tree)
    for parent, field, index, node in _places(tree):
        for new, sentence in _other_statements(node, words) if isinstance(node, ast.stmt) else _others(node, words):
            _put(parent, field, index, new)
            yield sentence
        _put(parent, field, index, node)
    yield from _exchanges(tree, words)


def _places(tree):  # -> [(parent, field, index or None, node)], the expressions and statements that may be changed
    found = []
    waiting = [s for s in tree.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    found += [(tree, "body", tree.body.index(s), s) for s in waiting]
    while waiting:
        parent = waiting.pop(0)
        if isinstance(parent, ast.While):
            continue  # a change might make it endless
        for field, value in ast.iter_fields(parent):
            for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(node, ast.expr | ast.stmt | ast.comprehension | ast.keyword | ast.Slice):
                    waiting.append(node)
                    if not isinstance(node, ast.comprehension | ast.keyword | ast.Slice) and field != "func":
                        found.append((parent, field, index, node))
    return found


def _put(parent, field, index, node):
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


class Words:
    """Expressions as a reader of the exercise knows them: a name of the solution is replaced by its expression."""

    def __init__(self, tree):
        self.parameters = [a.arg for a in tree.args.args]
        assigned = [n for n in ast.walk(tree) if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name)]
        names = [n.targets[0].id for n in assigned]
        self.meaning = {n.targets[0].id: copy.deepcopy(n.value) for n in assigned if names.count(n.targets[0].id) == 1}

    def __call__(self, node):
        meaning = self.meaning

        class Replace(ast.NodeTransformer):
            def visit_Name(self, node):
                return copy.deepcopy(meaning[node.id]) if node.id in meaning else node

        for _ in range(3):
            node = Replace().visit(copy.deepcopy(node))
        text = ast.unparse(node)
        return text if len(text) <= 60 else text[:57] + "..."


def _call(function, *arguments):
    parts = function.split(".")
    node = ast.Name(parts[0], ast.Load())
    for part in parts[1:]:
        node = ast.Attribute(node, part, ast.Load())
    return ast.Call(node, list(arguments), [])


def _number(value):
    return ast.Constant(value)


def _transposed(node):
    return ast.Attribute(node, "T", ast.Load())


# ---- one expression


def _others(node, words):
    """(another expression, the sentence) for an expression."""
    if isinstance(getattr(node, "ctx", None), ast.Store | ast.Del):
        return
    if isinstance(node, ast.BinOp):
        yield from _other_operations(node, words)
    elif isinstance(node, ast.Attribute) and node.attr == "T":
        yield node.value, f"{words(node.value)} is used without .T"
    elif isinstance(node, ast.Constant):
        yield from _other_constants(node)
    elif isinstance(node, ast.UnaryOp):
        yield node.operand, f"the sign or `not` of {words(node)} is left out"
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(node.test, node.orelse, node.body), "the two ways are exchanged"
        yield node.body, f"the condition {words(node.test)} is ignored: always {words(node.body)}"
        yield node.orelse, f"the condition {words(node.test)} is ignored: always {words(node.orelse)}"
    elif isinstance(node, ast.Compare):
        for other in OTHER_COMPARISONS.get(type(node.ops[0]), ()):
            yield (
                ast.Compare(node.left, [other(), *node.ops[1:]], node.comparators),
                f"{words(node.left)} {COMPARED[other]} {words(node.comparators[0])} is asked in place of "
                f"{COMPARED[type(node.ops[0])]}",
            )
    elif isinstance(node, ast.BoolOp):
        for i, value in enumerate(node.values):
            rest = [v for k, v in enumerate(node.values) if k != i]
            new = rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
            yield new, f"the condition {words(value)} is left out"
        yield (
            ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values),
            "`and` and `or` are exchanged",
        )
    elif isinstance(node, ast.Call):
        yield from _other_calls(node, words)
    elif isinstance(node, ast.ListComp | ast.GeneratorExp):
        yield from _other_loops(node, words)
    elif isinstance(node, ast.Subscript):
        yield from _other_subscripts(node, words)
    elif isinstance(node, ast.Tuple) and len(node.elts) > 1:
        for i in range(len(node.elts) - 1):
            e = list(node.elts)
            e[i], e[i + 1] = e[i + 1], e[i]
            yield ast.Tuple(e, ast.Load()), "two of the results are exchanged"
            yield ast.Tuple([*e[:i], e[i], e[i], *e[i + 2 :]], ast.Load()), "one result is returned in two places"
            yield (
                ast.Tuple([*e[:i], e[i + 1], e[i + 1], *e[i + 2 :]], ast.Load()),
                "one result is returned in two places",
            )
        for change, sentence in _whole("every result"):
            yield ast.Tuple([change(v) for v in node.elts], ast.Load()), sentence
    if isinstance(node, ast.Name):
        yield from _other_names(node, words)
    if isinstance(node, ast.Name | ast.BinOp | ast.Call | ast.Attribute | ast.Subscript):
        for change, sentence in _whole(words(node)):
            yield change(node), sentence


def _whole(name):
    """(change of an expression, sentence): what may happen to any value."""
    b = ast.BinOp
    yield lambda n: ast.UnaryOp(ast.USub(), n), f"the sign of {name} is wrong"
    yield lambda n: b(n, ast.Mult(), _number(2)), f"{name} is doubled"
    yield lambda n: b(n, ast.Div(), _number(2)), f"{name} is halved"
    yield lambda n: b(n, ast.Pow(), _number(2)), f"{name} is squared"
    yield lambda n: b(n, ast.Pow(), _number(0.5)), f"the root of {name} is taken"
    yield lambda n: b(n, ast.Add(), _number(1)), f"{name} is one too large"
    yield lambda n: b(n, ast.Sub(), _number(1)), f"{name} is one too small"
    yield lambda n: b(_number(1), ast.Div(), n), f"1 is divided by {name}: it is upside down"
    yield lambda n: _call("abs", n), f"{name} loses its sign: abs is too much"
    yield lambda n: _call("int", n), f"{name} is cut to a whole number"
    yield _transposed, f"{name} is transposed"
    yield lambda n: _call("np.sum", n), f"{name} is added up to one number"
    yield lambda n: _call("np.mean", n), f"the mean of {name} is taken"
    yield lambda n: b(n, ast.Mult(), _number(0)), f"{name} is zero"
    yield lambda n: b(n, ast.Div(), _call("len", n)), f"{name} is divided by its number of rows"


def _other_operations(node, words):
    left, right, b = node.left, node.right, ast.BinOp
    one, two = words(left), words(right)
    kind = type(node.op)
    if kind is ast.Add:
        yield left, f"{two} is left out"
        yield right, f"{one} is left out"
        yield b(left, ast.Sub(), right), f"{two} is subtracted instead of added"
        yield b(right, ast.Sub(), left), f"{one} is subtracted instead of added"
        yield b(left, ast.Mult(), right), f"{one} and {two} are multiplied instead of added"
    elif kind is ast.Sub:
        yield left, f"{two} is not subtracted"
        yield right, f"{one} is left out"
        yield b(right, ast.Sub(), left), f"the difference is taken the wrong way round, {two} - {one}"
        yield b(left, ast.Add(), right), f"{two} is added instead of subtracted"
    elif kind is ast.Mult:
        yield left, f"the factor {two} is left out"
        yield right, f"the factor {one} is left out"
        yield b(left, ast.Div(), right), f"{one} is divided by {two} instead of multiplied"
        yield b(right, ast.Div(), left), f"{two} is divided by {one} instead of multiplied"
        yield b(left, ast.Add(), right), f"{one} and {two} are added instead of multiplied"
        yield b(left, ast.Sub(), right), f"{two} is subtracted instead of multiplied"
        yield b(left, ast.MatMult(), right), f"{one} and {two} have a matrix product instead of element by element"
        for factor, other in ((left, right), (right, left)):
            if isinstance(other, ast.BinOp) and isinstance(other.op, ast.Add | ast.Sub):
                yield (
                    b(b(factor, ast.Mult(), other.left), other.op, other.right),
                    f"{words(factor)} multiplies {words(other.left)} alone: the sum needs parentheses",
                )
                yield (
                    b(other.left, other.op, b(other.right, ast.Mult(), factor)),
                    f"{words(factor)} multiplies {words(other.right)} alone: the sum needs parentheses",
                )
    elif kind is ast.Div:
        yield left, f"the division by {two} is left out"
        yield b(_number(1), ast.Div(), right), f"{one} is left out above the line"
        yield b(left, ast.Mult(), right), f"{one} is multiplied by {two} instead of divided"
        yield b(right, ast.Div(), left), f"the fraction is upside down, {two} / {one}"
        yield b(left, ast.FloorDiv(), right), f"{one} is divided by {two} in whole numbers, with //"
        yield b(left, ast.Div(), b(right, ast.Pow(), _number(0.5))), f"{one} is divided by the root of {two}"
        yield b(left, ast.Div(), b(right, ast.Pow(), _number(2))), f"{one} is divided by {two} twice"
        yield b(left, ast.Sub(), right), f"{two} is subtracted where {one} must be divided by it"
        if isinstance(left, ast.BinOp) and isinstance(left.op, ast.Add | ast.Sub):
            yield (
                b(left.left, left.op, b(left.right, ast.Div(), right)),
                f"{words(left.right)} alone is divided by {two}: the numerator needs parentheses",
            )
        if isinstance(right, ast.BinOp) and isinstance(right.op, ast.Mult | ast.Add | ast.Sub):
            a, c = words(right.left), words(right.right)
            yield (
                b(b(left, ast.Div(), right.left), right.op, right.right),
                f"only {a} is below the line and {c} is not: it needs / ({two})",
            )
    elif kind is ast.FloorDiv:
        yield left, f"the division by {two} is left out"
        yield b(left, ast.Div(), right), f"{one} / {two} is not rounded down to a whole number"
        yield b(b(left, ast.FloorDiv(), right), ast.Add(), _number(1)), f"{one} // {two} is one too large"
        yield _call("round", b(left, ast.Div(), right)), f"{one} / {two} is rounded to the nearest instead of down"
        yield (
            ast.UnaryOp(ast.USub(), b(ast.UnaryOp(ast.USub(), left), ast.FloorDiv(), right)),
            f"{one} / {two} is rounded up",
        )
        yield b(left, ast.Mod(), right), f"the rest of {one} / {two} is taken instead of the quotient"
        yield b(left, ast.Mult(), right), f"{one} is multiplied by {two} instead of divided"
        yield b(right, ast.FloorDiv(), left), f"the fraction is upside down, {two} // {one}"
    elif kind is ast.MatMult:
        yield b(right, ast.MatMult(), left), f"the factors of {one} @ {two} are in the other order"
        yield b(left, ast.Mult(), right), f"{one} and {two} are multiplied element by element: the matrix product is @"
        yield left, f"the product with {two} is left out"
        yield right, f"the product with {one} is left out"
        yield b(_transposed(left), ast.MatMult(), right), f"{one} is transposed in {one} @ {two}"
        yield b(left, ast.MatMult(), _transposed(right)), f"{two} is transposed in {one} @ {two}"
        yield b(_transposed(right), ast.MatMult(), _transposed(left)), f"the product {one} @ {two} is transposed"
        yield _call("np.ones_like", node), f"{one} @ {two} is replaced by ones"
        if isinstance(left, ast.Attribute) and left.attr == "T" and isinstance(left.value, ast.expr):
            yield b(_transposed(right), ast.MatMult(), left.value), f"the product {one} @ {two} is transposed"
            yield b(right, ast.MatMult(), left.value), f"{one} @ {two} is written as {two} @ {words(left.value)}"
        if isinstance(right, ast.Attribute) and right.attr == "T":
            yield b(right.value, ast.MatMult(), left), f"{one} @ {two} is written as {words(right.value)} @ {one}"
            yield b(right.value, ast.MatMult(), _transposed(left)), f"the product {one} @ {two} is transposed"
    elif kind is ast.Pow:
        yield left, f"the power {two} of {one} is left out"
        yield b(left, ast.Mult(), right), f"{one} is multiplied by {two} instead of raised to that power"
        yield (
            b(left, ast.Pow(), b(_number(1), ast.Div(), right)),
            "the root is taken instead of the power, or the reverse",
        )
    else:
        yield left, f"{two} is left out"
        yield right, f"{one} is left out"
        for other in (ast.Add, ast.Sub, ast.BitAnd, ast.BitOr, ast.LShift, ast.RShift):
            if other is not kind and kind in OPERATORS:
                yield b(left, other(), right), f"{OPERATORS[other]} is used in place of {OPERATORS[kind]} before {two}"


def _other_constants(node):
    value = node.value
    if isinstance(value, bool):
        yield _number(not value), f"{value} is {not value}"
    elif isinstance(value, int | float):
        for other in (value + 1, value - 1, 2 * value, value / 2, -value, 0, 1):
            if other != value:
                yield (
                    _number(type(value)(other) if other == int(other) else other),
                    f"the number {value:g} is {other:g}",
                )


def _other_names(node, words):
    for other in words.parameters:
        if other != node.id and (node.id in words.parameters or node.id in words.meaning):
            yield ast.Name(other, ast.Load()), f"{other} is used in place of {words(node)}"
    if node.id in words.parameters or node.id in words.meaning:
        yield _number(1), f"{words(node)} is left out"
        yield _call("np.ones_like", node), f"the values of {words(node)} are left out, as if all were 1"


def _other_calls(node, words):
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    for other in OTHER_CALLS.get(name, ()):
        if isinstance(node.func, ast.Attribute):
            function = ast.Attribute(node.func.value, other, ast.Load())
        elif other in ("max", "min", "sum", "abs", "round", "any", "all"):
            function = ast.Name(other, ast.Load())
        else:
            function = _call(f"np.{other}").func
            if node.args and isinstance(node.args[0], ast.GeneratorExp):
                loop = node.args[0]
                yield (
                    ast.Call(function, [ast.ListComp(loop.elt, loop.generators)], []),
                    f"{other} is used in place of {name}",
                )
                continue
        yield ast.Call(function, node.args, node.keywords), f"{other} is used in place of {name}"
    if isinstance(node.func, ast.Attribute) and not isinstance(node.func.value, ast.Name | ast.Attribute):
        yield node.func.value, f"{name} is left out"
    elif isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "np") != "np":
        yield node.func.value, f"{name} is left out"
    if node.args:
        yield node.args[0], f"{name} is left out"
    for i in range(1, len(node.args)):
        yield (
            ast.Call(node.func, node.args[:i] + node.args[i + 1 :], node.keywords),
            f"an argument of {name} is left out",
        )
    if len(node.args) == 2:
        yield ast.Call(node.func, node.args[::-1], node.keywords), f"the arguments of {name} are exchanged"
    for i, keyword in enumerate(node.keywords):
        rest = node.keywords[:i] + node.keywords[i + 1 :]
        given = f"{keyword.arg}={words(keyword.value)}"
        yield ast.Call(node.func, node.args, rest), f"{given} is left out of {name}"
        if keyword.arg == "axis":
            for axis in (0, 1, -2):
                other = [*rest, ast.keyword("axis", _number(axis))]
                yield (
                    ast.Call(node.func, node.args, other),
                    f"{name} runs along axis {axis} instead of {words(keyword.value)}",
                )
            without = [k for k in rest if k.arg != "keepdims"]
            yield ast.Call(node.func, node.args, without), f"{name} runs over the whole array: {given} is left out"


def _other_loops(node, words):
    first = node.generators[0]

    def with_first(**changed):
        fields = {"target": first.target, "iter": first.iter, "ifs": first.ifs, "is_async": 0} | changed
        return type(node)(node.elt, [ast.comprehension(**fields), *node.generators[1:]])

    listed = _call("list", first.iter)
    for i, condition in enumerate(first.ifs):
        yield with_first(ifs=first.ifs[:i] + first.ifs[i + 1 :]), f"the condition {words(condition)} is left out"
    yield with_first(iter=ast.Subscript(listed, ast.Slice(None, _number(1)), ast.Load())), "only the first one is used"
    yield with_first(iter=ast.Subscript(listed, ast.Slice(_number(-1), None), ast.Load())), "only the last one is used"
    yield with_first(iter=ast.Subscript(listed, ast.Slice(_number(1), None), ast.Load())), "the first one is skipped"
    yield with_first(iter=ast.Subscript(listed, ast.Slice(None, _number(-1)), ast.Load())), "the last one is skipped"
    yield with_first(iter=_call("list", _call("dict.fromkeys", first.iter))), "equal ones are used once"
    yield with_first(iter=_call("reversed", listed)), "the order is reversed"
    yield with_first(iter=_call("sorted", first.iter)), "they are sorted first"


def _other_subscripts(node, words):
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]

    def with_part(i, part):
        new = [*parts[:i], part, *parts[i + 1 :]]
        return ast.Subscript(node.value, ast.Tuple(new, ast.Load()) if len(new) > 1 else new[0], ast.Load())

    for i, part in enumerate(parts):
        if isinstance(part, ast.Slice) and part.upper is not None and part.lower is None:
            end = words(part.upper)
            more = ast.BinOp(part.upper, ast.Add(), _number(1))
            less = ast.BinOp(part.upper, ast.Sub(), _number(1))
            yield with_part(i, ast.Slice(None, more)), f"one too many is taken: up to {end} + 1"
            yield with_part(i, ast.Slice(None, less)), f"one too few is taken: up to {end} - 1"
            yield (
                with_part(i, ast.Slice(ast.UnaryOp(ast.USub(), part.upper), None)),
                f"the last {end} are taken instead of the first",
            )
            yield with_part(i, ast.Slice(part.upper, None)), f"those after the first {end} are taken"
            yield with_part(i, ast.Slice(None, None)), f"all are taken, not only the first {end}"
    if not isinstance(node.slice, ast.Slice) and len(parts) == 2:
        yield (
            with_part(0, parts[1])
            if False
            else ast.Subscript(node.value, ast.Tuple([parts[1], parts[0]], ast.Load()), ast.Load()),
            f"rows and columns of {words(node.value)} are exchanged",
        )


# ---- statements, and the whole function


def _other_statements(node, words):
    if isinstance(node, ast.Assign | ast.AugAssign | ast.If | ast.For | ast.Expr):
        yield ast.Pass(), f"the step `{words(node).splitlines()[0]}` is left out"
    if isinstance(node, ast.AugAssign):
        for other in (ast.Add, ast.Sub, ast.Mult, ast.Div):
            if not isinstance(node.op, other):
                new = ast.AugAssign(node.target, other(), node.value)
                yield new, f"{OPERATORS[other]}= is used in place of {OPERATORS.get(type(node.op), '')}="
        yield (
            ast.Assign([node.target], node.value, lineno=0),
            f"{words(node.value)} replaces the sum instead of being added",
        )
    if isinstance(node, ast.If):
        yield ast.If(_number(True), node.body, node.orelse), f"the condition {words(node.test)} is left out"
        yield (
            ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse),
            f"the condition {words(node.test)} is reversed",
        )
    if isinstance(node, ast.For):
        last = ast.For(node.target, node.iter, [*node.body, ast.Break()], node.orelse, lineno=0)
        yield last, "only the first round of the loop is made: is the `return` inside the loop?"
        short = _call("list", node.iter)
        yield (
            ast.For(
                node.target, ast.Subscript(short, ast.Slice(None, _number(-1)), ast.Load()), node.body, [], lineno=0
            ),
            "the last round of the loop is missing",
        )
        yield (
            ast.For(
                node.target, ast.Subscript(short, ast.Slice(_number(1), None), ast.Load()), node.body, [], lineno=0
            ),
            "the first round of the loop is missing",
        )
        yield ast.For(node.target, _call("reversed", short), node.body, [], lineno=0), "the loop runs backwards"


def _exchanges(tree, words):
    """Two parameters exchanged, or one left out, wherever they are used."""
    names = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]
    for i, a in enumerate(words.parameters):
        for c in words.parameters[i + 1 :]:
            changed = [(n, n.id) for n in names if n.id in (a, c)]
            for n, old in changed:
                n.id = c if old == a else a
            yield f"{a} and {c} are exchanged"
            for n, old in changed:
                n.id = old
    for a in words.parameters:  # the argument is changed before it is used
        for change, sentence in _whole(a):
            first = ast.Assign([ast.Name(a, ast.Store())], change(ast.Name(a, ast.Load())), lineno=0)
            tree.body.insert(0, first)
            yield sentence
            tree.body.pop(0)
        tree.body.insert(0, ast.Assign([ast.Name(a, ast.Store())], _number(1), lineno=0))
        yield f"{a} is left out"
        tree.body.pop(0)
