"""Mistakes made by machine: one change of the solution each, said in one sentence."""

import ast
from dataclasses import replace
from types import FunctionType

import numpy as np
import pytest
from exercise_answers import each

from minilora.course.judge import judge, recognise
from minilora.course.mutants import _code, bounded, changes, mutants
from minilora.course.runner import exercise


def made(text):  # -> {text of the changed function's last line: sentence}
    tree = ast.parse(text).body[0]
    return {ast.unparse(tree).splitlines()[-1].strip(): sentence for sentence in changes(tree)}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("return x - W.T", "W.T is subtracted instead of added"),
        ("return x", "W.T is left out"),
        ("return x + W", "W is used without .T"),
        ("return x.T + W.T", "x is transposed"),
        ("return -x + W.T", "the sign of x is wrong"),
        ("return x * 2 + W.T", "x is doubled"),
        ("return x", "W.T is left out"),
    ],
)
def test_a_change_has_its_sentence(text, sentence):
    assert made("def f(x, W):\n    return x + W.T")[text] == sentence


def test_a_loop_that_a_change_makes_endless_is_ended():
    grows = "def f(names):\n    for name in names:\n        names.append(name)\n    return names"
    while_true = "def f(names):\n    while True:\n        pass"
    for text in (grows, while_true):
        code = _code(bounded(ast.parse(text).body[0]))
        with pytest.raises(StopIteration):
            FunctionType(code, {})([1])


def test_a_name_of_the_solution_is_told_as_its_expression():
    assert (
        "the factor alpha / r is left out" in made("def f(x, alpha, r):\n    s = alpha / r\n    return s * x").values()
    )


def test_rows_are_mistaken_for_columns_and_turned_so_that_the_shape_fits():
    assert made("def f(U, r):\n    return U[:, :r]")["return U[:r].T"] == "rows of U are taken instead of its columns"
    assert made("def f(U, r):\n    return U[:r]")["return U[:, :r].T"] == "columns of U are taken instead of its rows"


def test_a_change_never_takes_the_end_of_a_loop_away():
    tree = bounded(ast.parse("def f(n):\n    while n:\n        pass\n    for i in n:\n        n = i").body[0])
    for sentence in changes(tree):
        assert "_turns" not in sentence
        assert ast.unparse(tree).count("next(_turns)") >= 1 + ("for i in n" not in sentence)


def test_the_search_for_a_name_ends_after_a_second_of_processor_time(monkeypatch):
    now = iter(range(10**9))
    monkeypatch.setattr("minilora.course.mutants.time.process_time", lambda: next(now) / 10)
    mutants.cache_clear()
    try:
        assert 0 < len(mutants(6, "lora_forward")) <= 10
    finally:
        mutants.cache_clear()


def test_an_array_that_is_filled_later_keeps_its_name():
    text = "def f(x):\n    up = x.copy()\n    up[0] = 1\n    return up * 2"
    assert "the factor 2 is left out" in made(text).values()
    assert any("up is halved" == sentence for sentence in made(text).values())


def test_the_tree_is_as_before_afterwards():
    tree = ast.parse(
        "def f(x, n):\n    for i in range(n):\n        x = x + i if i > 1 else x\n    return x, [x[:i]]"
    ).body[0]
    before = ast.dump(tree)
    assert len(list(changes(tree))) > 50
    assert ast.dump(tree) == before


@pytest.mark.slow
@each
def test_every_solution_has_mutants_and_most_of_them_are_wrong(exercise):
    found = mutants(exercise.lesson, exercise.function)
    assert len(found) > 50
    assert all(sentence == sentence.strip() and "\n" not in sentence for sentence, _ in found)


def test_a_mistake_that_nobody_wrote_down_is_named():
    def subtracts(x, W, A, B, alpha, r):
        return x @ W.T - (alpha / r) * (x @ A.T) @ B.T

    bare = replace(exercise("6.1"), misconceptions=())
    name = recognise(bare, subtracts)
    assert name == "alpha / r * (x @ A.T) @ B.T is subtracted instead of added"
    assert judge(bare, subtracts).named == name


def test_an_answer_that_is_wrong_in_its_own_way_gets_the_first_hint():
    verdict = judge(exercise("6.1"), lambda x, W, A, B, alpha, r: np.sin(x @ W.T))
    assert verdict.named == ""
    assert exercise("6.1").hints[0] in verdict.message
