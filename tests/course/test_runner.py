"""The check of a student's own file: what it survives, and what it says."""

import os
import time

import pytest

from minilora.course import runner
from minilora.course.runner import check, exercise, verdict_lines
from minilora.errors import UnknownNameError

GOOD = "def central_difference(f, x, eps):\n    return (f(x + eps) - f(x - eps)) / (2 * eps)\n"


@pytest.fixture
def submit(tmp_path):
    """Write lesson_01.py with this text and check one exercise of it."""

    def run(text, number="1.1", **limits):
        (tmp_path / "lesson_01.py").write_text(text, encoding="utf-8")
        return check(number, tmp_path, **limits)

    return run


def one_that(*lines):
    return "def central_difference(f, x, eps):\n" + "".join(f"    {line}\n" for line in lines)


def test_a_right_file_passes(submit):
    assert submit(GOOD).state == "passed"


@pytest.mark.slow
def test_an_endless_loop_is_stopped_and_named(submit):
    verdict = submit(one_that("while True: pass"), seconds=3)
    assert (verdict.state, verdict.failing) == ("stopped", "returns one number")
    assert "after 3 seconds" in verdict.message


@pytest.mark.slow
def test_the_properties_that_held_before_a_hang_are_kept(submit):
    verdict = submit(one_that("while eps == 0.1: pass", "return (f(x + eps) - f(x - eps)) / (2 * eps)"), seconds=3)
    assert len(verdict.passed) == 3


@pytest.mark.slow
def test_an_endless_loop_while_loading_is_stopped(submit):
    assert "while loading the file" in submit("while True: pass", seconds=3).message


@pytest.mark.parametrize("eater", ["kept = []", "kept = [0] * 10**10"])
def test_a_submission_that_eats_memory_is_stopped(submit, eater):
    verdict = submit(one_that("import numpy as np", eater, "while True: kept.append(np.ones(10**6))"), megabytes=200)
    assert verdict.state in ("stopped", "failed")
    assert "memory" in verdict.message.lower()


@pytest.mark.parametrize("ending", ["import os; os._exit(0)", "import ctypes; ctypes.string_at(0)"])
def test_a_submission_that_ends_python_is_told_so(submit, ending):
    verdict = submit(one_that(ending))
    assert verdict.state == "stopped"
    assert "Python itself ended" in verdict.message


@pytest.mark.parametrize("ending", ["import sys; sys.exit(0)", "raise KeyboardInterrupt"])
def test_a_submission_that_exits_is_a_failure_with_its_line(submit, ending):
    verdict = submit(one_that(ending))
    assert verdict.state == "failed"
    assert "lesson_01.py, line 2, in central_difference" in verdict.message


def test_a_question_at_the_keyboard_does_not_hang(submit):
    assert "EOFError" in submit(one_that("return float(input())")).message


def test_a_traceback_shows_the_own_lines_alone(submit):
    verdict = submit(
        "import numpy as np\n\ndef help_me(x):\n    return np.ones((2, 3)) @ np.ones((2, 3))\n\n"
        + one_that("return help_me(x)")
    )
    lines = verdict.message.splitlines()
    assert lines[:2] == [
        "lesson_01.py, line 7, in central_difference: return help_me(x)",
        "lesson_01.py, line 4, in help_me: return np.ones((2, 3)) @ np.ones((2, 3))",
    ]
    assert lines[2] == "ValueError: the shapes of a matrix product do not fit: the inner sizes 3 and 2 differ"
    assert len(lines) == 3


def test_where_shapes_do_not_fit_the_shapes_of_the_own_arrays_are_told(submit):
    verdict = submit("import numpy as np\n\n" + one_that("wide = np.ones((2, 3))", "tall = [1]", "return wide @ wide"))
    assert verdict.message.splitlines()[-1] == "the shapes at that line: wide (2, 3)"


def test_a_syntax_error_names_its_line(submit):
    verdict = submit(GOOD + "def broken(:\n    pass\n")
    assert verdict.state == "does not load"
    assert "lesson_01.py, line 3" in verdict.message


def test_an_unwritten_function_hides_no_neighbour(submit):
    text = GOOD + "def numeric_gradient(f, x, eps):\n    raise NotImplementedError\n"
    assert (submit(text).state, submit(text, "1.2").state) == ("passed", "not started")


def test_a_renamed_function_is_missed_by_name(submit):
    verdict = submit(GOOD.replace("central_difference", "central_diff"))
    assert verdict.message == "no function central_difference in lesson_01.py; it has: central_diff"


def test_what_a_failing_submission_prints_is_shown_and_cut(submit):
    verdict = submit(one_that("print('x is', x)", "print('y' * 10**7)", "return 0.0"))
    assert "your code printed: x is 2.0" in verdict.message
    assert len(verdict.message) < 1500


def test_what_is_printed_in_the_failing_call_is_shown_and_nothing_printed_elsewhere(submit):
    verdict = submit("print('loading')\n" + one_that("print('x is', x)", "return 3.0"))
    assert verdict.message.count("x is") == 1
    assert "your code printed: x is 3.0" in verdict.message


def test_a_file_that_is_no_text_is_said_to_be_none(submit, tmp_path):
    (tmp_path / "lesson_01.py").write_bytes(GOOD.encode("utf-16"))
    assert check("1.1", tmp_path).message == "lesson_01.py is not plain text: save it as UTF-8"


@pytest.mark.parametrize(
    "encode",
    [
        lambda t: t.encode("utf-8-sig"),
        lambda t: t.replace("\n", "\r\n").encode(),
        lambda t: t.replace("eps", "ε").encode(),
        lambda t: ("# coding: latin-1\n# Größe\n" + t).encode("latin-1"),
    ],
    ids=["with a BOM", "of Windows", "with Greek names", "in Latin-1, and says so"],
)
def test_a_file_from_any_editor_is_read(submit, tmp_path, encode):
    (tmp_path / "lesson_01.py").write_bytes(encode(GOOD))
    assert check("1.1", tmp_path).state == "passed"


@pytest.mark.skipif(os.name == "nt", reason="Windows does not keep processes together")
@pytest.mark.parametrize("then", ["while True: pass", "return 0.0"])
@pytest.mark.slow
def test_nothing_that_a_submission_started_outlives_the_check(submit, tmp_path, then):
    beat = tmp_path / "beat"
    code = f"import time\nwhile True: open({str(beat)!r}, 'a').write('.'); time.sleep(0.05)"
    submit(
        "import subprocess, sys, time\n"
        + one_that(f"subprocess.Popen([sys.executable, '-c', {code!r}])", "time.sleep(1)", then),
        seconds=3,
    )
    assert beat.stat().st_size
    before = beat.stat().st_size
    time.sleep(0.5)
    assert beat.stat().st_size == before


@pytest.mark.skipif(os.name == "nt", reason="seq is no program of Windows")
def test_what_another_program_prints_blocks_nobody(submit):
    text = "import subprocess\n" + GOOD.replace(":\n", ":\n    subprocess.run(['seq', '100000'])\n", 1)
    assert submit(text, seconds=20).state == "passed"


def test_the_two_lines_to_paste_show_the_failure(submit, tmp_path, monkeypatch, capsys):
    verdict = submit(one_that("return (f(x + eps) - f(x)) / eps"))
    assert verdict.paste[1] == "print(central_difference(lambda x: x * x, 3.0, 0.5))"
    monkeypatch.syspath_prepend(tmp_path)
    exec("\n".join(verdict.paste), {})
    assert capsys.readouterr().out == "6.5\n"


def test_a_file_that_shadows_a_library_does_no_harm(submit, tmp_path):
    (tmp_path / "json.py").write_text("raise RuntimeError", encoding="utf-8")
    assert submit(GOOD).state == "passed"


def test_a_missing_file_is_said(tmp_path):
    assert check("1.1", tmp_path).state == "no file"


def test_the_check_leaves_nothing_in_the_folder(submit, tmp_path):
    submit(GOOD)
    assert [p.name for p in tmp_path.iterdir()] == ["lesson_01.py"]


def test_a_failure_is_told_with_property_reason_input_and_hint(submit):
    text = "\n".join(verdict_lines(exercise("1.1"), submit(one_that("return (f(x + eps) - f(x)) / eps"))))
    for part in (
        "not right yet",
        "holds        a straight line",
        "fails        a parabola",
        "forward difference",
        "to see it, paste:",
        "minilora hint 1.1",
    ):
        assert part in text


@pytest.mark.parametrize("number", ["9" * 4400, "٣", "²", "1.²", "1.", ".1", "-1", "1.1.1", ""])
def test_what_is_no_number_of_an_exercise_is_one_short_line(number):
    with pytest.raises(UnknownNameError, match="^no exercise '.*give a number such as 6.2") as error:
        runner.exercise(number)
    assert len(str(error.value)) < 200
