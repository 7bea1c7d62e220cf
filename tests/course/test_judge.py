"""The judge: whatever a function returns is judged, a right answer passes in any form, a spoiled one does not."""

import sys

import numpy as np
import pytest
from exercise_answers import SOLUTIONS, each

from minilora import Tensor
from minilora.course import runner
from minilora.course.judge import judge
from minilora.course.runner import LESSONS, file_name
from minilora.course.submission import find_function


def test_a_changed_argument_is_said_once():
    def moves_and_moves_back(W, A, B, alpha, r):
        B *= alpha / r
        update = B @ A
        B /= alpha / r
        B += 1e-9
        return W + update

    assert judge(runner.exercise("0.1"), moves_and_moves_back).message.count("changes its") == 1


def test_numbers_in_place_of_texts_are_judged():
    verdict = judge(runner.exercise("24.2"), lambda letters, merges: [len(letters)] * 2)
    assert verdict.state == "failed" and "which is no text" in verdict.message


def test_whole_numbers_that_are_wrong_are_not_cut_off():
    def one_too_low(w, levels, size):
        codes, absmax = solution(runner.exercise("13.1"))(w, levels, size)
        return np.maximum(codes - 1, 0), absmax

    assert "cut off" not in judge(runner.exercise("13.1"), one_too_low).message


def test_a_result_that_no_check_expects_is_no_known_mistake():
    verdict = judge(runner.exercise("24.1"), lambda parts, pair: np.array(["ab"], dtype=object))
    assert verdict.named == "the result is no list"


@pytest.mark.parametrize(
    ("number", "position", "word"), [("24.1", 0, "first"), ("24.2", 1, "second"), ("22.2", 0, "first")]
)
def test_a_list_of_the_caller_that_is_turned_round_is_a_changed_argument(number, position, word):
    right = solution(runner.exercise(number))

    def turning(*arguments):
        result = right(*arguments)
        arguments[position].reverse()
        return result

    assert judge(runner.exercise(number), turning).named == f"your function changes its {word} argument"


ODD = [
    None,
    "text",
    1j,
    object(),
    {},
    [],
    [[1.0], [2.0, 3.0]],
    (i for i in "ab"),
    np.array(["a"]),
    float("nan"),
    print,
    np.zeros((0, 3)),
    [None, None],
    ({}, {}),
    np.array([[1.0, 2.0]] * 3),
    Tensor(np.ones(2)),
    ([], [], []),
    [3, 4],
]


@pytest.mark.slow
@pytest.mark.parametrize("result", ODD, ids=lambda r: type(r).__name__)
@each
def test_whatever_a_function_returns_it_is_judged_and_never_passes(exercise, result):
    verdict = judge(exercise, lambda *arguments: result)
    assert verdict.state == "failed"
    assert verdict.message


def on_numbers(change):  # -> function of a result: the same, with every number and array in it changed
    def changed(value):
        if isinstance(value, list | tuple):
            return type(value)(changed(v) for v in value)
        return value if isinstance(value, str) else change(value)

    return changed


def solution(exercise):
    return find_function(SOLUTIONS / file_name(exercise.lesson), exercise.function)[0]


@pytest.fixture
def solutions_are_forgotten(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    for lesson in LESSONS:
        monkeypatch.setitem(sys.modules, f"lesson_{lesson:02d}", None)


SAME = {
    "as lists": lambda v: v.tolist() if isinstance(v, np.ndarray) else v,
    "in float32": lambda v: np.float32(v) if isinstance(v, np.ndarray | float) else v,
    "as Tensors": lambda v: Tensor(v) if isinstance(v, np.ndarray) else v,
    "not contiguous": lambda v: np.repeat(v[..., None], 2, -1)[..., 0] if isinstance(v, np.ndarray) else v,
    "read only": lambda v: np.broadcast_to(v, v.shape) if isinstance(v, np.ndarray) else v,
}


@pytest.mark.usefixtures("solutions_are_forgotten")
@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
@each
def test_a_right_answer_passes_in_whatever_it_is_kept(exercise, change):
    right = solution(exercise)
    verdict = judge(exercise, lambda *arguments: on_numbers(change)(right(*arguments)))
    assert (verdict.state, verdict.message) == ("passed", "")


@pytest.mark.slow
@pytest.mark.usefixtures("solutions_are_forgotten")
@pytest.mark.parametrize(
    "change",
    [
        lambda v: 2 * np.asarray(v) + 1,
        lambda v: np.asarray(v) * np.nan,
        lambda v: np.asarray(v) * 1.001 + 0.001,
        lambda v: np.asarray(v) + 0j,
    ],
    ids=["doubled and more", "nan", "a little off", "complex"],
)
@each
def test_a_right_answer_spoiled_is_caught_and_not_named_as_a_mistake_that_it_is_not(exercise, change):
    right = solution(exercise)
    if exercise.number in ("12.2", "24.1", "24.2"):
        pytest.skip("its answers are names or bytes")
    verdict = judge(exercise, lambda *arguments: on_numbers(change)(right(*arguments)))
    assert verdict.state == "failed"
    assert "You get this result" not in verdict.message
