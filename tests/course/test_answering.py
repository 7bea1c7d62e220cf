"""Answering in a notebook: check at once, hint, progress, the function that the lesson goes on with, and the files."""

import numpy as np
import pytest

from minilora.course import answering, runner
from minilora.course.answering import answer, check, hint, load_answers, progress, save_answers
from minilora.errors import ConfigError, UnknownNameError

HALF = 0.5


@pytest.fixture(autouse=True)
def nothing_is_checked_yet(monkeypatch):
    monkeypatch.setattr(answering, "_checked", {})
    monkeypatch.setattr(answering, "in_use", set())


def narrow(x, A):
    return np.matmul(x, A.T)


def lora_forward(x, W, A, B, alpha, r):
    return x @ W.T + HALF * 2 * (alpha / r) * narrow(x, A) @ B.T


def unscaled(x, W, A, B, alpha, r):
    print("x is", x.shape)
    return x @ W.T + narrow(x, A) @ B.T


def stub(x, W, A, B, alpha, r):
    raise NotImplementedError


def test_a_right_function_passes_at_once(capsys):
    check("6.1", lora_forward)
    assert capsys.readouterr().out == "6.1  lora_forward: passed (5 properties)\n"


def test_a_stub_is_not_started(capsys):
    check("6.1", stub)
    assert capsys.readouterr().out == "6.1  lora_forward: not started\n"


def test_a_wrong_function_is_told_why_and_how_to_go_on(capsys):
    check("6.1", unscaled)
    said = capsys.readouterr().out
    for part in ("not right yet", "alpha / r is left out", "your code printed: x is (1, 1)", 'hint("6.1")'):
        assert part in said
    assert "import" not in said  # the function is in this kernel
    assert said.count("x is") == 1  # the failing call's, of all those that the check makes


def test_an_error_is_told_with_its_line(capsys):
    def does_not_fit(x, W, A, B, alpha, r):
        return x @ W

    check("6.1", does_not_fit)
    assert "in does_not_fit: return x @ W\n" in capsys.readouterr().out


def test_an_interrupt_ends_a_check_with_one_line(capsys):
    def endless(x, W, A, B, alpha, r):
        raise KeyboardInterrupt

    check("6.1", endless)
    assert capsys.readouterr().out == ("6.1: you ended the check; is there a loop in lora_forward that does not end?\n")


def test_a_result_in_place_of_a_function_is_told(capsys):
    check("6.1", 3.0)
    assert capsys.readouterr().out == (
        "6.1: check takes your function, as in check('6.1', lora_forward), without a call\n"
    )


def test_a_number_that_is_none_is_refused():
    with pytest.raises(UnknownNameError, match="lesson 6 has 6.1, 6.2, 6.3"):
        check("6.9", lora_forward)


def test_hints_come_by_level(capsys):
    hint("6.1")
    hint("6.1", level=3)
    said = capsys.readouterr().out
    assert all(runner.exercise("6.1").hints[level] in said for level in (0, 2))
    assert said.count("The next: ") == said.count('The next: hint("6.1", 2)') == 1
    with pytest.raises(ConfigError, match="expected 1, 2 or 3"):
        hint("6.1", level=4)


def test_a_lesson_goes_on_with_what_passed(capsys):
    check("6.1", lora_forward)
    assert answer("6.1").__wrapped__ is lora_forward
    assert "goes on with your lora_forward" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("function", "why"), [(None, "is not checked yet"), (stub, "is not written yet"), (unscaled, "is not right yet")]
)
def test_a_lesson_goes_on_with_the_courses_function_otherwise(function, why, capsys):
    if function is not None:
        check("6.1", function)
    own = answer("6.1")
    x, W, A, B = (np.ones(shape) for shape in ((1, 3), (2, 3), (1, 3), (2, 1)))
    assert own(x, W, A, B, 4.0, 2).tolist() == [[9.0, 9.0]]
    assert f"your lora_forward {why}; the lesson goes on with the course's own\n" in capsys.readouterr().out


def test_progress_shows_every_exercise(capsys):
    check("6.1", lora_forward)
    check("6.2", stub)
    capsys.readouterr()
    progress()
    said = capsys.readouterr().out
    assert "lesson  6   6.1 passed   6.2 not started   6.3 -\n" in said
    total = sum(len(runner.exercises(lesson)) for lesson in runner.LESSONS)
    assert said.endswith(f"\n1 of {total} passed in this kernel\n")


def test_saved_answers_are_files_that_pass(tmp_path):
    check("6.1", lora_forward)
    save_answers(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["lesson_06.py"]
    states = [runner.check(number, tmp_path).state for number in ("6.1", "6.2")]
    assert states == ["passed", "not started"]


def test_an_answer_of_another_name_is_saved_under_its_own_name_too(tmp_path):
    check("6.1", unscaled)
    save_answers(tmp_path)
    assert "lora_forward = unscaled\n" in (tmp_path / "lesson_06.py").read_text(encoding="utf-8")
    assert "alpha / r is left out" in runner.check("6.1", tmp_path).message


def test_existing_files_are_replaced_only_when_asked(tmp_path):
    check("6.1", lora_forward)
    (tmp_path / "lesson_06.py").write_text("mine\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="overwrite=True"):
        save_answers(tmp_path)
    assert (tmp_path / "lesson_06.py").read_text(encoding="utf-8") == "mine\n"
    save_answers(tmp_path, overwrite=True)
    assert "def lora_forward" in (tmp_path / "lesson_06.py").read_text(encoding="utf-8")


def test_a_lambda_cannot_be_saved(tmp_path):
    check("6.1", lambda *c: lora_forward(*c))
    with pytest.raises(ConfigError, match="def lora_forward"):
        save_answers(tmp_path)


def test_there_is_nothing_to_save_before_a_check(tmp_path):
    with pytest.raises(ConfigError, match="check your functions first"):
        save_answers(tmp_path)


def test_answers_of_another_notebook_are_loaded_from_their_files(tmp_path, monkeypatch, capsys):
    check("6.1", lora_forward)
    save_answers(tmp_path)
    monkeypatch.setattr(answering, "_checked", {})
    load_answers(tmp_path)
    answer("6.1")
    assert "goes on with your lora_forward" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="no lesson_00.py to "):
        load_answers(tmp_path / "nowhere")


def test_the_courses_own_function_leaves_no_answer_in_use():
    check("6.1", lora_forward)
    answer("6.1")
    assert answering.in_use == {"6.1"}
    check("6.1", unscaled)
    answer("6.1")
    assert answering.in_use == set()
