"""The changes of one expression that make a mistake of a student's kind, each with its sentence.

`words` turns an expression into text, see `mutants.Words`. New nodes may share parts with the old ones.
"""

import ast

from .mutations_of_calls import call, number, other_calls, other_loops, other_subscripts

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


def _transposed(node):
    return ast.Attribute(node, "T", ast.Load())


# ---- one expression


def other_expressions(node, words):
    """(another expression, the sentence) for an expression."""
    yield from other_forms(node, words)
    if isinstance(getattr(node, "ctx", None), ast.Store | ast.Del):
        return
    if isinstance(node, ast.Name):
        yield from _other_names(node, words)
    if isinstance(node, ast.Name | ast.BinOp | ast.Call | ast.Attribute | ast.Subscript):
        for change, sentence in whole_changes(words(node)):
            yield change(node), sentence


def other_forms(node, words, condition=False):
    """The same for changes of the expression's own form: its operator, its operands, its condition.

    condition: the expression is asked whether it is true.
    """
    if isinstance(getattr(node, "ctx", None), ast.Store | ast.Del):
        return
    if isinstance(node, ast.BinOp):
        yield from _other_operations(node, words)
    elif isinstance(node, ast.Attribute) and node.attr == "T":
        yield node.value, f"{words(node.value)} is used without .T"
    elif isinstance(node, ast.Constant):
        yield from _other_constants(node)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant):
        yield node.operand, f"{words(node.operand)} is used in place of {words(node)}"
    elif isinstance(node, ast.UnaryOp):
        yield node.operand, f"the sign or `not` of {words(node)} is left out"
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(node.test, node.orelse, node.body), f"the two ways of `if {words(node.test)}` are exchanged"
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
            joined = "and" if isinstance(node.op, ast.And) else "or"
            yield new, f"{'the condition' if condition else f'`{joined}`'} {words(value)} is left out"
        yield (
            ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values),
            "`and` and `or` are exchanged",
        )
    elif isinstance(node, ast.Call):
        yield from other_calls(node, words)
    elif isinstance(node, ast.ListComp | ast.GeneratorExp):
        yield from other_loops(node, words)
    elif isinstance(node, ast.Subscript):
        yield from other_subscripts(node, words)
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
        for change, sentence in whole_changes(f"every result of {words(node)}"):
            yield ast.Tuple([change(v) for v in node.elts], ast.Load()), sentence


def whole_changes(name):
    """(change of an expression, sentence): what may happen to any value."""
    b = ast.BinOp
    yield lambda n: ast.UnaryOp(ast.USub(), n), f"the sign of {name} is wrong"
    yield lambda n: b(n, ast.Mult(), number(2)), f"{name} is doubled"
    yield lambda n: b(n, ast.Div(), number(2)), f"{name} is halved"
    yield lambda n: b(n, ast.Pow(), number(2)), f"{name} is squared"
    yield lambda n: b(n, ast.Pow(), number(0.5)), f"the root of {name} is taken"
    yield lambda n: b(n, ast.Add(), number(1)), f"{name} is one too large"
    yield lambda n: b(n, ast.Sub(), number(1)), f"{name} is one too small"
    yield lambda n: b(number(1), ast.Div(), n), f"1 is divided by {name}: it is upside down"
    yield lambda n: b(number(1), ast.Sub(), n), f"1 - {name} is used in place of {name}"
    yield lambda n: call("abs", n), f"{name} loses its sign: abs is too much"
    yield lambda n: call("int", n), f"{name} is cut to a whole number"
    yield _transposed, f"{name} is transposed"
    yield lambda n: call("np.sum", n), f"{name} is added up to one number"
    yield lambda n: call("np.mean", n), f"the mean of {name} is taken"
    yield lambda n: b(n, ast.Mult(), number(0)), f"{name} is zero"
    yield lambda n: b(n, ast.Div(), call("len", n)), f"{name} is divided by its number of rows"


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
        yield b(left, ast.Pow(), right), f"{one} is raised to the power {two} instead of multiplied"
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
        yield b(number(1), ast.Div(), right), f"{one} is left out above the line"
        yield b(left, ast.Mult(), right), f"{one} is multiplied by {two} instead of divided"
        yield b(right, ast.Div(), left), f"the fraction is upside down, {two} / {one}"
        yield b(left, ast.FloorDiv(), right), f"{one} is divided by {two} in whole numbers, with //"
        yield b(left, ast.Div(), b(right, ast.Pow(), number(0.5))), f"{one} is divided by the root of {two}"
        yield b(left, ast.Div(), b(right, ast.Pow(), number(2))), f"{one} is divided by {two} twice"
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
        yield b(b(left, ast.FloorDiv(), right), ast.Add(), number(1)), f"{one} // {two} is one too large"
        yield call("round", b(left, ast.Div(), right)), f"{one} / {two} is rounded to the nearest instead of down"
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
        yield call("np.ones_like", node), f"{one} @ {two} is replaced by ones"
        for end, term in ((ast.Slice(None, number(1)), "first"), (ast.Slice(number(-1), None), "last")):
            of_left = ast.Subscript(left, ast.Tuple([number(...), end], ast.Load()), ast.Load())
            of_right = ast.Subscript(right, end, ast.Load())
            yield b(of_left, ast.MatMult(), of_right), f"only the {term} term of the sum in {one} @ {two} is there"
        if isinstance(left, ast.Attribute) and left.attr == "T" and isinstance(left.value, ast.expr):
            yield b(_transposed(right), ast.MatMult(), left.value), f"the product {one} @ {two} is transposed"
            yield b(right, ast.MatMult(), left.value), f"{one} @ {two} is written as {two} @ {words(left.value)}"
        if isinstance(right, ast.Attribute) and right.attr == "T":
            yield b(right.value, ast.MatMult(), left), f"{one} @ {two} is written as {words(right.value)} @ {one}"
            yield b(right.value, ast.MatMult(), _transposed(left)), f"the product {one} @ {two} is transposed"
    elif kind is ast.Pow:
        yield left, f"the power {two} of {one} is left out"
        for logarithm in ("log", "log2"):
            yield call(f"np.{logarithm}", left), f"the logarithm of {one} is taken in place of its power {two}"
        yield b(left, ast.Mult(), right), f"{one} is multiplied by {two} instead of raised to that power"
        yield (
            b(left, ast.Pow(), b(number(1), ast.Div(), right)),
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
        yield number(not value), f"{value} is {not value}"
    elif isinstance(value, int | float):
        for other in (value + 1, value - 1, 2 * value, value / 2, -value, 0, 1):
            if other != value:
                yield (
                    number(type(value)(other) if other == int(other) else other),
                    f"the number {value:g} is {other:g}",
                )


def _other_names(node, words):
    for other in words.parameters:
        if other != node.id and (node.id in words.parameters or node.id in words.meaning):
            yield ast.Name(other, ast.Load()), f"{other} is used in place of {words(node)}"
    if node.id in words.parameters or node.id in words.meaning:
        yield number(1), f"{words(node)} is left out"
        yield call("np.ones_like", node), f"the values of {words(node)} are left out, as if all were 1"
