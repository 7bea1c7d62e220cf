"""The changes of a call, a loop and an index that make a mistake of a student's kind, each with its sentence."""

import ast

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


def other_calls(node, words):
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
    if name == "len" and node.args:
        columns = ast.Subscript(ast.Attribute(node.args[0], "shape", ast.Load()), number(-1), ast.Load())
        yield columns, f"the columns of {words(node.args[0])} are counted instead of its rows"
        for other in words.parameters:
            if isinstance(node.args[0], ast.Name) and other != node.args[0].id:
                yield (
                    call("len", ast.Name(other, ast.Load())),
                    f"the rows of {other} are counted, not those of {words(node.args[0])}",
                )
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


def other_loops(node, words):
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


def _other_side(node, parts, words):
    """Rows for columns, turned so that the shape fits: the mistake that U, S, Vᵀ invite."""
    of, last = words(node.value), parts[-1]
    if len(parts) == 1:
        columns = ast.Subscript(node.value, ast.Tuple([ast.Slice(None, None), last], ast.Load()), ast.Load())
        yield ast.Attribute(columns, "T", ast.Load()), f"columns of {of} are taken instead of its rows"
    elif len(parts) == 2 and isinstance(parts[0], ast.Slice) and parts[0].upper is None:
        rows = ast.Subscript(node.value, last, ast.Load())
        yield ast.Attribute(rows, "T", ast.Load()), f"rows of {of} are taken instead of its columns"


def other_subscripts(node, words):
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
            yield from _other_side(node, parts, words)
    if not isinstance(node.slice, ast.Slice) and len(parts) == 2:
        yield (
            ast.Subscript(node.value, ast.Tuple([parts[1], parts[0]], ast.Load()), ast.Load()),
            f"rows and columns of {words(node.value)} are exchanged",
        )
