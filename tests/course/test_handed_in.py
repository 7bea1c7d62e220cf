"""What students hand in: files under any name, notebooks, both."""

import json

import pytest
from exercise_answers import SOLUTIONS, STUBS

from minilora.course.handed_in import answers, check, lesson_named, state_of, used_in

RIGHT = "def effective_weight(W, A, B, alpha, r):\n    return W + alpha / r * (B @ A)\n"
WRONG = "def effective_weight(W, A, B, alpha, r):\n    return W + B @ A\n"


def notebook(*cells):
    made = [{"cell_type": "code", "source": cell.splitlines(keepends=True), "outputs": []} for cell in cells]
    return json.dumps({"cells": [{"cell_type": "markdown", "source": ["# 0"]}, *made], "nbformat": 4})


@pytest.fixture
def hand_in(tmp_path):
    def write(**files):
        for name, text in files.items():
            (tmp_path / name.replace("__", " ").replace("_py", ".py").replace("_ipynb", ".ipynb")).write_text(
                text, encoding="utf-8"
            )
        return answers(tmp_path)

    return write


@pytest.mark.parametrize(
    ("name", "lesson"),
    [
        ("lesson_06.py", 6),
        ("lesson_06 (1).py", 6),
        ("lesson_06(2).py", 6),
        ("Lesson 6.py", 6),
        ("lesson_06 - Copy.py", 6),
        ("ada_lesson_12_final.py", 12),
        ("lesson-0.py", 0),
        ("lessons.py", None),
        ("lesson_123.py", None),
        ("homework.py", None),
    ],
)
def test_a_lesson_is_known_by_the_name_of_its_file(name, lesson):
    assert lesson_named(name) == lesson


@pytest.mark.parametrize("name", ["lesson_00__(1)_py", "homework_py", "Lesson__0_py"])
def test_a_file_under_another_name_is_judged(hand_in, name):
    files = hand_in(**{name: RIGHT})
    verdict = check("0.1", files)
    assert (verdict.state, verdict.message) == ("passed", "")
    assert verdict.file.endswith(".py")


def test_the_right_name_comes_before_a_copy_and_of_two_copies_the_later(hand_in):
    files = hand_in(**{"lesson_00_py": RIGHT, "lesson_00__(1)_py": WRONG, "lesson_00__(2)_py": WRONG})
    assert [a.path.name for a in files[0]] == ["lesson_00.py", "lesson_00 (2).py", "lesson_00 (1).py"]


def test_of_a_notebook_the_last_definition_counts_and_nothing_else_runs(hand_in, tmp_path):
    marker = tmp_path / "ran"
    files = hand_in(
        answers_ipynb=notebook(
            "%matplotlib inline\nimport numpy as np\nimport no_such_module\n",
            WRONG.replace("return", "open('x')\n    return"),
            f"open({str(marker)!r}, 'w').write('x')\nraise RuntimeError",
            "!pip install something\n" + RIGHT.replace("B @ A", "np.matmul(B, A)") + "\ncheck('0.1', effective_weight)",
            "%%bash\nrm -rf everything",
            "this is no Python",
        )
    )
    verdict = check("0.1", files)
    assert (verdict.state, verdict.message, verdict.file) == ("passed", "", "answers.ipynb")
    assert verdict.uses == "numpy"
    assert not marker.exists()


def test_a_notebook_answers_what_the_file_beside_it_leaves_open(hand_in):
    stub = (STUBS / "lesson_00.py").read_text(encoding="utf-8")
    assert check("0.1", hand_in(lesson_00_py=stub, mine_ipynb=notebook(RIGHT))).state == "passed"
    assert check("0.1", hand_in(lesson_00_py=WRONG, mine_ipynb=notebook(RIGHT))).state == "failed"


def test_a_notebook_for_several_lessons_answers_all_of_them(hand_in):
    text = [(SOLUTIONS / f"lesson_{n:02d}.py").read_text(encoding="utf-8") for n in (0, 7)]
    files = hand_in(all_ipynb=notebook(*text))
    assert sorted(files) == [0, 7]
    assert check("7.2", files).state == "passed"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cells": 3}', '{"cells": [{"cell_type": "code"}]}', "[" * 10**5])
def test_what_is_no_notebook_is_no_answer(hand_in, text):
    assert hand_in(broken_ipynb=text) == {}


def test_nothing_handed_in_is_no_file(hand_in):
    assert check("0.1", hand_in()).state == "no file"


def test_imports_and_the_functions_that_a_teacher_asks_for_are_noted():
    text = "import numpy as np\nfrom minilora.course.checks import lesson_06\ndef f():\n    exec(open('x').read())\n"
    assert used_in(text) == "exec, minilora.course.checks, numpy, open"
    assert used_in("def broken(:") == ""


def test_a_changed_file_changes_the_state_of_its_folder(tmp_path):
    (tmp_path / "a").write_text("1", encoding="utf-8")
    before = state_of(tmp_path)
    assert state_of(tmp_path) == before
    (tmp_path / "a").write_text("12", encoding="utf-8")
    assert state_of(tmp_path) != before


# ---- the file of a page


def of_a_page(**files):
    return json.dumps({"minilora": 1, "files": {name.replace("_py", ".py"): text for name, text in files.items()}})


def test_the_file_that_a_page_saved_is_judged(tmp_path):
    (tmp_path / "minilora-answers.json").write_text(of_a_page(lesson_00_py=RIGHT), encoding="utf-8")
    files = answers(tmp_path)
    verdict = check("0.1", files)
    assert list(files) == [0]
    assert (verdict.state, verdict.file) == ("passed", "minilora-answers.json")


def test_a_file_of_python_comes_before_the_file_of_a_page(tmp_path):
    (tmp_path / "answers.json").write_text(of_a_page(lesson_00_py=WRONG), encoding="utf-8")
    (tmp_path / "lesson_00.py").write_text(RIGHT, encoding="utf-8")
    assert check("0.1", answers(tmp_path)).state == "passed"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "{}",
        '{"files": 3}',
        '{"files": {"lesson_06.py": 6}}',
        '{"files": {"notes.py": "x = 1"}}',
        "[" * 9_999,
    ],
)
def test_any_other_json_has_no_answers(tmp_path, text):
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    assert answers(tmp_path) == {}


@pytest.mark.parametrize("line", ["x = '\ud800'", "x = " + "-" * 50_000 + "1"])
def test_a_line_that_python_cannot_read_ends_no_check_of_a_class(tmp_path, line):
    (tmp_path / "answers.json").write_text(of_a_page(lesson_00_py=line), encoding="utf-8")
    assert check("0.1", answers(tmp_path)).state == "does not load"
    (tmp_path / "lesson_00.py").write_text(RIGHT, encoding="utf-8")
    assert check("0.1", answers(tmp_path)).state == "passed"


def test_a_notebook_with_a_line_too_deep_has_its_other_answers(tmp_path):
    cells = [{"cell_type": "code", "source": text} for text in ("x = " + "-" * 50_000 + "1", RIGHT)]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")
    assert check("0.1", answers(tmp_path)).state == "passed"
