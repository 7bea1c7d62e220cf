"""Mistakes made by machine: the course's own solution with one thing changed, and a plain sentence for each change.

A mistake that nobody wrote down is still named when one change of the solution makes it: another operator, an operand
left out, a transpose forgotten, two results exchanged. The results are compared, never the texts.
"""

import ast
import contextlib
import copy
import functools
import itertools
import time
import warnings
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType

import numpy as np

from ..files.shipped import shipped
from .mutations import OPERATORS, other_expressions, other_forms, whole_changes
from .mutations_of_calls import call, number

MOST = 3000  # mutants of an exercise
SECONDS = 1.0  # of processor time to make them: the student waits
TURNS = 1000  # of all loops of a call; the cases are small


@functools.lru_cache(maxsize=64)
def solution(lesson: int, name: str) -> tuple[Callable, ast.FunctionDef]:
    """The course's own function `name` of a lesson, and its source as a tree."""
    module = ast.parse(shipped(f"lessons/solutions/lesson_{lesson:02d}.py").read_text(encoding="utf-8"))
    namespace: dict = {
        "__name__": f"solutions_{lesson:02d}",
        "np": np,
    }  # a change may need NumPy where the text does not
    exec(compile(module, "<solution>", "exec"), namespace)  # the course's own text
    tree = next(node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == name)
    return namespace[name], tree


@functools.lru_cache(maxsize=64)
def mutants(lesson: int, name: str) -> tuple[tuple[str, Callable], ...]:
    """(sentence, function) for every mistake that one change of the solution `name` of a lesson makes."""
    return _functions(lesson, name, changes)


@functools.lru_cache(maxsize=64)
def double_mutants(lesson: int, name: str) -> tuple[tuple[str, Callable], ...]:
    """The same for two changes of operators, transposes, conditions and comparisons at once."""
    return _functions(lesson, name, pairs)


def _functions(lesson, name, changed):
    function, tree = solution(lesson, name)
    tree = bounded(tree)
    until = time.process_time() + SECONDS
    found: dict[CodeType, tuple[str, Callable]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # of a change that makes no sense
        for sentence in itertools.islice(changed(tree), MOST):
            if time.process_time() > until:
                break
            with contextlib.suppress(SyntaxError):
                code = _code(tree)
                if code not in found:
                    found[code] = sentence, FunctionType(code, function.__globals__, name)
    return tuple(found.values())


def bounded(tree: ast.FunctionDef) -> ast.FunctionDef:
    """A copy whose loops end after TURNS rounds: a change can make a list grow while a loop reads it."""
    return _Bounded().visit(copy.deepcopy(tree))


def _code(tree):  # the code of the function, as it is now
    module = compile(ast.fix_missing_locations(ast.Module([tree], type_ignores=[])), "<mutant>", "exec")
    return next(c for c in module.co_consts if isinstance(c, CodeType))


class _Bounded(ast.NodeTransformer):
    """Puts a count of rounds into the loops; StopIteration ends them."""

    BEGIN, TURN = ast.parse(f"_turns = iter(range({TURNS}))\nnext(_turns)").body

    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        if any(isinstance(inner, ast.For | ast.While) for inner in ast.walk(node)):
            node.body.insert(0, self.BEGIN)
        return node

    def visit_For(self, node):
        return self._loop(node)

    def visit_While(self, node):
        return self._loop(node)

    def _loop(self, node):
        self.generic_visit(node)
        node.body.insert(0, self.TURN)
        return node


def changes(tree: ast.FunctionDef) -> Iterator[str]:
    """Make one change after another in `tree`, yield its sentence while it is there, and take it back."""
    words = Words(tree)
    yield from _at(_places(tree), lambda parent, field, node: _others(parent, field, node, words))
    yield from _exchanges(tree, words)


def _others(parent, field, node, words):
    if isinstance(node, ast.stmt):
        return _other_statements(node, words)
    condition = field in ("test", "ifs") or isinstance(parent, ast.BoolOp)
    counted = isinstance(parent, ast.Call) and isinstance(parent.func, ast.Name) and parent.func.id == "len"
    if condition or counted:  # the results of other changes are those of changes that are easier to say
        return other_forms(node, words, condition)
    if isinstance(node, ast.Constant) and isinstance(parent, ast.expr):
        where = words(parent)
        return [(new, f"{sentence} in {where}") for new, sentence in other_forms(node, words)]
    return other_expressions(node, words)


def pairs(tree: ast.FunctionDef) -> Iterator[str]:
    """The same with two changes at once."""
    words = Words(tree)
    places = [p for p in _places(tree) if isinstance(p[3], ast.BinOp | ast.Attribute | ast.IfExp | ast.Compare)]
    for n in range(len(places)):
        for one in _at(places[n : n + 1], lambda parent, field, node: other_forms(node, words)):
            for two in _at(places[n + 1 :], lambda parent, field, node: other_forms(node, words)):
                yield f"{one}, and {two}"


def _at(places, others):  # make the changes of the nodes there, one after another
    for parent, field, index, node in places:
        for new, sentence in others(parent, field, node):
            _put(parent, field, index, new)
            yield sentence
        _put(parent, field, index, node)


def _places(tree):  # -> [(parent, field, index or None, node)], the expressions and statements that may be changed
    found = []
    waiting = [s for s in tree.body if _may_change(s)]
    found += [(tree, "body", tree.body.index(s), s) for s in waiting]
    while waiting:
        parent = waiting.pop(0)
        if isinstance(parent, ast.While):
            continue  # a change might make it endless
        for field, value in ast.iter_fields(parent):
            for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(node, ast.expr | ast.stmt | ast.comprehension | ast.keyword | ast.Slice) and _may_change(
                    node
                ):
                    waiting.append(node)
                    if not isinstance(node, ast.comprehension | ast.keyword | ast.Slice) and field != "func":
                        found.append((parent, field, index, node))
    return found


def _may_change(node):  # neither a docstring nor what ends a loop
    return node not in (_Bounded.BEGIN, _Bounded.TURN) and not (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def _put(parent, field, index, node):
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def _names_in(tree):
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}


class Words:
    """Expressions as a reader of the exercise knows them: a name of the solution is replaced by its expression."""

    def __init__(self, tree):
        self.parameters = [a.arg for a in tree.args.args]
        assigned = [(n.targets[0], n.value) for n in ast.walk(tree) if isinstance(n, ast.Assign)]
        named = [(target.id, value) for target, value in assigned if isinstance(target, ast.Name)]
        names = [n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        stored = [n.value for n in ast.walk(tree) if isinstance(n, ast.Subscript) and isinstance(n.ctx, ast.Store)]
        filled = {n.id for n in stored if isinstance(n, ast.Name)}  # its first value is not what it is for
        once = [(name, value) for name, value in named if names.count(name) == 1 and name not in self.parameters]
        steady = [(name, value) for name, value in once if filled.isdisjoint({name, *_names_in(value)})]
        self.meaning = {name: copy.deepcopy(value) for name, value in steady}

    def __call__(self, node):
        meaning = self.meaning

        class Replace(ast.NodeTransformer):
            def visit_Name(self, node):
                return copy.deepcopy(meaning[node.id]) if node.id in meaning else node

        for _ in range(3):
            node = Replace().visit(copy.deepcopy(node))
        text = ast.unparse(node)
        return text if len(text) <= 60 else text[:57] + "..."


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
        yield ast.If(number(True), node.body, node.orelse), f"the condition {words(node.test)} is left out"
        yield (
            ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse),
            f"the condition {words(node.test)} is reversed",
        )
    if isinstance(node, ast.For):
        last = ast.For(node.target, node.iter, [*node.body, ast.Break()], node.orelse, lineno=0)
        yield last, "only the first round of the loop is made: is the `return` inside the loop?"
        short = call("list", node.iter)
        yield (
            ast.For(
                node.target, ast.Subscript(short, ast.Slice(None, number(-1)), ast.Load()), node.body, [], lineno=0
            ),
            "the last round of the loop is missing",
        )
        yield (
            ast.For(node.target, ast.Subscript(short, ast.Slice(number(1), None), ast.Load()), node.body, [], lineno=0),
            "the first round of the loop is missing",
        )
        yield ast.For(node.target, call("reversed", short), node.body, [], lineno=0), "the loop runs backwards"


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
        for change, sentence in whole_changes(a):
            first = ast.Assign([ast.Name(a, ast.Store())], change(ast.Name(a, ast.Load())), lineno=0)
            tree.body.insert(0, first)
            yield sentence
            tree.body.pop(0)
        tree.body.insert(0, ast.Assign([ast.Name(a, ast.Store())], number(1), lineno=0))
        yield f"{a} is left out"
        tree.body.pop(0)
