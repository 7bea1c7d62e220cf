"""The changes of one expression that make a mistake of a student's kind, each with its sentence.

`words` turns an expression into text, see `mutants.Words`. New nodes may share parts with the old ones.
"""

import ast

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


def call(function, *arguments):
    parts = function.split(".")
    node = ast.Name(parts[0], ast.Load())
    for part in parts[1:]:
        node = ast.Attribute(node, part, ast.Load())
    return ast.Call(node, list(arguments), [])


def number(value):
    return ast.Constant(value)


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


def other_forms(node, words):
    """The same for changes of the expression's own form: its operator, its operands, its condition."""
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
        for change, sentence in whole_changes("every result"):
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


def _other_calls(node, words):
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    for other in OTHER_CALLS.get(name, ()):
        if isinstance(node.func, ast.Attribute):
            function = ast.Attribute(node.func.value, other, ast.Load())
        elif other in ("max", "min", "sum", "abs", "round", "any", "all"):
            function = ast.Name(other, ast.Load())
        else:
            function = call(f"np.{other}").func
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
                other = [*rest, ast.keyword("axis", number(axis))]
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

    listed = call("list", first.iter)
    for i, condition in enumerate(first.ifs):
        yield with_first(ifs=first.ifs[:i] + first.ifs[i + 1 :]), f"the condition {words(condition)} is left out"
    yield with_first(iter=ast.Subscript(listed, ast.Slice(None, number(1)), ast.Load())), "only the first one is used"
    yield with_first(iter=ast.Subscript(listed, ast.Slice(number(-1), None), ast.Load())), "only the last one is used"
    yield with_first(iter=ast.Subscript(listed, ast.Slice(number(1), None), ast.Load())), "the first one is skipped"
    yield with_first(iter=ast.Subscript(listed, ast.Slice(None, number(-1)), ast.Load())), "the last one is skipped"
    yield with_first(iter=call("list", call("dict.fromkeys", first.iter))), "equal ones are used once"
    yield with_first(iter=call("reversed", listed)), "the order is reversed"
    yield with_first(iter=call("sorted", first.iter)), "they are sorted first"


def _other_subscripts(node, words):
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]

    def with_part(i, part):
        new = [*parts[:i], part, *parts[i + 1 :]]
        return ast.Subscript(node.value, ast.Tuple(new, ast.Load()) if len(new) > 1 else new[0], ast.Load())

    for i, part in enumerate(parts):
        if isinstance(part, ast.Slice) and part.upper is not None and part.lower is None:
            end = words(part.upper)
            more = ast.BinOp(part.upper, ast.Add(), number(1))
            less = ast.BinOp(part.upper, ast.Sub(), number(1))
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
