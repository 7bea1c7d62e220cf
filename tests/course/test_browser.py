"""A cell of a page: what it prints, how its error reads; what is kept of it, and known again on the next page."""

import json
import sys

import pytest

from minilora.course import answering, browser, lesson
from minilora.course.browser import kept, recall, run_cell

RIGHT = """
import numpy as np
HALF = 0.5
def narrow(x, A):
    return np.matmul(x, A.T)
def mine(x, W, A, B, alpha, r):
    return x @ W.T + HALF * 2 * (alpha / r) * narrow(x, A) @ B.T
"""


@pytest.fixture(autouse=True)
def new_kernel(monkeypatch):
    monkeypatch.setattr(answering, "_checked", {})
    monkeypatch.setattr(answering, "in_use", set())
    monkeypatch.setattr(browser, "_told", {})
    monkeypatch.setattr(lesson, "_predictions", {})


@pytest.fixture
def names():  # of the cells of one page
    return {"__name__": "page"}


@pytest.mark.parametrize(
    ("source", "printed"),
    [
        ("'a' + 'b'", "'ab'\n"),
        ("x = 1\nx == 1", "True\n"),
        ("None", ""),
        ("x = 3", ""),
        ("3;", ""),
        ("print(1)\n2", "1\n2\n"),
        ("", ""),
        ("# nothing", ""),
        ("def f():\n    return 1", ""),
    ],
)
def test_the_value_of_the_last_line_is_printed(names, capsys, source, printed):
    assert run_cell(source, "cell 1", names) == ""
    assert capsys.readouterr().out == printed


def test_names_stay_from_cell_to_cell(names, capsys):
    run_cell("x = 20", "cell 1", names)
    run_cell("x + 1", "cell 2", names)
    assert capsys.readouterr().out == "21\n"


def test_an_error_begins_at_the_cell_and_shows_its_line(names):
    run_cell("def halve(x):\n    return x / 0", "cell 1", names)
    error = run_cell("y = 2\nhalve(y)", "cell 2", names)
    assert error.splitlines()[1:3] == ['  File "cell 2", line 2, in <module>', "    halve(y)"]
    assert '  File "cell 1", line 2, in halve\n    return x / 0\n' in error
    assert error.endswith("ZeroDivisionError: division by zero")
    assert "browser.py" not in error


@pytest.mark.parametrize(
    ("source", "ends"),
    [
        ("x = = 1", "SyntaxError: invalid syntax"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("x = '\0'", "source code string cannot contain null bytes"),
    ],
)
def test_what_a_cell_raises_is_its_error_and_no_more(names, source, ends):
    assert run_cell(source, "cell 1", names).endswith(ends)


def test_a_very_long_error_is_cut(names):
    error = run_cell("raise ValueError('x' * 10 ** 6)", "cell 1", names)
    assert len(error) < 21_000 and error.endswith("(the error is longer; the page shows no more)")


def test_an_answer_is_kept_with_what_it_uses_and_known_in_another_kernel(names, tmp_path, capsys, monkeypatch):
    run_cell(RIGHT + "from minilora.course.lesson import check\ncheck('6.1', mine)", "cell 1", names)
    found = json.loads(kept())
    assert found["states"] == {"6.1": "passed"} and list(found["files"]) == ["lesson_06.py"]
    monkeypatch.setattr(answering, "_checked", {})
    recall(json.dumps({"states": found["states"], "files": found["files"]}), tmp_path)
    capsys.readouterr()
    function = answering.answer("6.1")
    assert capsys.readouterr().out == "6.1: the lesson goes on with your lora_forward\n"
    assert function(*[1.0 * sys.modules["numpy"].eye(2)] * 4, 2, 1).tolist() == [[3.0, 0.0], [0.0, 3.0]]


def test_a_recalled_answer_stays_in_the_file_when_another_is_added(names, tmp_path):
    solution = "def lora_forward(x, W, A, B, alpha, r):\n    return x @ W.T + alpha / r * x @ A.T @ B.T\n"
    recall(json.dumps({"states": {"6.1": "passed"}, "files": {"lesson_06.py": solution}}), tmp_path)
    assert json.loads(kept())["files"] == {}  # the page has it already
    stub = "def input_gradient(g, W, A, B, alpha, r):\n    return g @ W\n"
    run_cell(stub + "from minilora.course.lesson import check\ncheck('6.3', input_gradient)", "cell 9", names)
    found = json.loads(kept())
    assert found["states"] == {"6.1": "passed", "6.3": "failed"}
    assert solution.strip() in found["files"]["lesson_06.py"] and "return g @ W" in found["files"]["lesson_06.py"]


def test_a_stub_that_runs_again_loses_no_answer(names, tmp_path, capsys):
    solution = "def lora_forward(x, W, A, B, alpha, r):\n    return x @ W.T + alpha / r * x @ A.T @ B.T\n"
    recall(json.dumps({"states": {"6.1": "passed"}, "files": {"lesson_06.py": solution}}), tmp_path)
    stub = "def lora_forward(x, W, A, B, alpha, r):\n    raise NotImplementedError\n"
    run_cell(stub + "from minilora.course.lesson import check\ncheck('6.1', lora_forward)", "cell 3", names)
    assert json.loads(kept())["states"] == {"6.1": "passed"}


@pytest.mark.parametrize("text", ["def lora_forward(:", "raise ValueError", "x = 1"])
def test_a_kept_file_that_does_not_load_is_left_out(tmp_path, text):
    recall(json.dumps({"states": {"6.1": "passed", "7.1": "passed"}, "files": {"lesson_06.py": text}}), tmp_path)
    assert answering.verdicts() == {}


def test_the_answer_to_an_exercise_of_another_version_is_left_out(tmp_path):
    solution = "def lora_forward(x, W, A, B, alpha, r):\n    return x @ W.T + alpha / r * x @ A.T @ B.T\n"
    states = {"99.1": "passed", "6.9": "passed", "6.1": "passed"}
    recall(json.dumps({"states": states, "files": {"lesson_06.py": solution, "lesson_99.py": ""}}), tmp_path)
    assert list(answering.verdicts()) == ["6.1"]
    assert json.loads(kept())["states"] == {"6.1": "passed"}


def test_an_answer_that_is_no_function_is_said_not_to_be_kept(names):
    cell = "from minilora.course.lesson import check\ncheck('6.1', lambda x, W, A, B, alpha, r: x @ W.T)"
    run_cell(cell, "cell 1", names)
    (note,) = json.loads(kept())["notes"]
    assert note.startswith("the answers of lesson 6 are not kept: 6.1 cannot be saved: write it as `def lora_forward(")


def test_predictions_are_kept_with_their_results(names):
    run_cell("from minilora.course.lesson import predict\npredict('how many?', 3).compare(4)", "cell 1", names)
    run_cell("predict('why?', None).compare(4)", "cell 2", names)
    assert json.loads(kept())["predictions"] == {"how many?": {"answer": "3", "result": "4", "right": False}}
