"""exercises, check and hint: files to fill in, checked and graded, and hints level by level."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from exercise_answers import SOLUTIONS, STUBS

from minilora.cli.course import check, exercises, hint
from minilora.course import runner
from minilora.course.judge import Verdict
from minilora.errors import ConfigError, UnknownNameError


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda command, *arguments: CliRunner().invoke(command, [str(a) for a in arguments])


def test_exercises_are_written_into_a_folder_and_checked_there(in_folder, tmp_path):
    assert in_folder(exercises, "mine").exit_code == 0
    assert {p.name for p in (tmp_path / "mine").iterdir()} == {p.name for p in STUBS.glob("*.py")}
    result = in_folder(check, "1", "--dir", "mine")
    assert (result.exit_code, result.output.count("not started")) == (1, len(runner.exercises(1)))


def test_writing_the_exercises_again_keeps_what_a_student_wrote(in_folder, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "lesson_01.py").write_text("answer = 42\n", encoding="utf-8")
    result = in_folder(exercises, "mine")
    assert "kept" in result.output
    assert (tmp_path / "mine" / "lesson_01.py").read_text(encoding="utf-8") == "answer = 42\n"


def test_check_finds_the_file_here(in_folder, tmp_path):
    shutil.copy(SOLUTIONS / "lesson_01.py", tmp_path)
    result = in_folder(check, "1")
    assert (result.exit_code, result.output.count(": passed")) == (0, len(runner.exercises(1)))


def test_check_takes_the_number_of_one_exercise(in_folder, tmp_path):
    shutil.copy(SOLUTIONS / "lesson_01.py", tmp_path)
    assert in_folder(check, "1.2").output.count("passed (") == 1


def test_check_takes_the_file_that_a_page_saved(in_folder, tmp_path):
    text = (SOLUTIONS / "lesson_01.py").read_text(encoding="utf-8")
    (tmp_path / "ada.json").write_text(json.dumps({"minilora": 1, "files": {"lesson_01.py": text}}), encoding="utf-8")
    result = in_folder(check, "--dir", "ada.json")
    assert (result.exit_code, result.output.count(": passed")) == (0, len(runner.exercises(1)))
    assert "2.1  " in in_folder(check, "2.1", "--dir", "ada.json").output


def test_check_refuses_a_file_without_answers(in_folder, tmp_path):
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    with pytest.raises(
        ConfigError, match="other.json has no answers: expected a folder, or the file that Save answers"
    ):
        CliRunner().invoke(check, ["1", "--dir", "other.json"], catch_exceptions=False)


def test_check_without_a_file_says_how_to_get_one(in_folder):
    with pytest.raises(ConfigError, match="minilora exercises DIR"):
        CliRunner().invoke(check, ["1"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [("99", "no lesson 99"), ("1.9", "no exercise 1.9"), ("1.x", "'1.x'"), ("abc", "'abc'")],
)
def test_check_and_hint_refuse_a_number_that_is_none(wrong, says):
    for command in (check, hint):
        with pytest.raises(UnknownNameError, match=says):
            CliRunner().invoke(command, [wrong], catch_exceptions=False)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("6.9", "no exercise 6.9; lesson 6 has 6.1, 6.2, 6.3"),
        ("6", "lesson 6 has 6.1, 6.2, 6.3"),
        (
            "mine/lesson_06.py",
            "no exercise 'mine/lesson_06.py': give a number such as 6.2, and the folder with your files by --dir DIR",
        ),
    ],
)
def test_a_number_that_is_none_is_told_the_right_one(wrong, says):
    with pytest.raises(UnknownNameError, match=re.escape(says)):
        CliRunner().invoke(hint, [wrong], catch_exceptions=False)


def test_hints_come_level_by_level(in_folder):
    first, last = in_folder(hint, "1.1").output, in_folder(hint, "1.1", "--level", "3").output
    assert "hint 1 of 3" in first and "hint 3 of 3" in last
    assert first != last


@pytest.mark.slow
def test_a_class_is_graded_in_one_command_and_one_that_hangs_hides_nobody(in_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("minilora.course.runner.check.__defaults__", (3, 1024))
    monkeypatch.setattr("minilora.cli.course.LESSONS", (1,))
    for student in ("ada", "ben", "cleo", "not-a-student"):
        (tmp_path / "class" / student).mkdir(parents=True)
    shutil.copy(SOLUTIONS / "lesson_01.py", tmp_path / "class" / "ada")
    (tmp_path / "class" / "ben" / "lesson_01.py").write_text("while True: pass\n", encoding="utf-8")
    (tmp_path / "class" / "cleo" / "lesson_01.py").write_text(
        "def central_difference(f, x, eps):\n    print('=cmd')\n    return 0.0\n", encoding="utf-8"
    )
    result = in_folder(check, "--all", "class", "--csv", "class.csv")
    rows = list(csv.DictReader((tmp_path / "class.csv").read_text(encoding="utf-8-sig").splitlines()))
    states = {(Path(r["folder"]).name, r["exercise"]): r["state"] for r in rows}
    assert result.exit_code == 1
    assert len(rows) == 3 * len(runner.exercises(1))
    assert "left out: not-a-student\n" in result.output  # it may be a student who handed in nothing
    for nowhere in ("class", "no/such/folder/class.csv"):
        refused = in_folder(check, "--all", "class", "--csv", nowhere).exception
        assert isinstance(refused, ConfigError) and "expected a file in a folder that exists" in str(refused)
    assert states["ada", "1.1"] == "passed" and states["ben", "1.1"] == "stopped" and states["cleo", "1.1"] == "failed"


def test_an_interrupted_grading_keeps_the_students_that_are_done(in_folder, tmp_path, monkeypatch):
    for student in ("ada", "ben", "cleo"):
        (tmp_path / "class" / student).mkdir(parents=True)
        shutil.copy(STUBS / "lesson_01.py", tmp_path / "class" / student)

    def checked(number, folder):
        if folder.name == "ben":
            raise KeyboardInterrupt
        return Verdict("passed")

    monkeypatch.setattr(runner, "check", checked)
    in_folder(check, "--all", "class", "--csv", "class.csv")
    rows = list(csv.DictReader((tmp_path / "class.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert {Path(r["folder"]).name for r in rows} == {"ada"}


def test_grading_goes_on_past_a_stray_file_and_somebody_who_handed_in_nothing(in_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("minilora.cli.course.LESSONS", (1,))
    for student in ("ada", "ben"):
        (tmp_path / "class" / student).mkdir(parents=True)
    shutil.copy(SOLUTIONS / "lesson_01.py", tmp_path / "class" / "ada")
    (tmp_path / "class" / "list.txt").write_text("ada, ben", encoding="utf-8")
    result = in_folder(check, "--all", "class/ada", "class/ben", "class/list.txt", "--csv", "class.csv")
    rows = list(csv.DictReader((tmp_path / "class.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert [r["state"] for r in rows] == ["passed"] * 3 + ["no file"] * 3
    assert "list.txt is not a folder" in result.stderr
    assert "ada: 3 of 3 passed\n" in result.stdout and "ben: 0 of 3 passed, 3 no file\n" in result.stdout


def test_grading_says_that_it_is_no_sandbox(in_folder, tmp_path):
    shutil.copy(STUBS / "lesson_01.py", tmp_path)
    assert "no sandbox" in in_folder(check, "--all", ".").stderr


def test_a_message_cannot_become_a_formula_of_a_spreadsheet():
    from minilora.cli.course import as_csv

    row = as_csv([(Path("a"), runner.exercises(0)[0], Verdict("failed", message="=1+1"))]).splitlines()[1]
    assert row.endswith(",'=1+1")
    row = as_csv([(Path("=cmd"), runner.exercises(0)[0], Verdict("passed"))]).splitlines()[1]
    assert row.startswith("'=cmd,")


SCALELESS = "def effective_weight(W, A, B, alpha, r):\n    return W + B @ A\n"


@pytest.fixture
def a_class(tmp_path, monkeypatch):
    """Four students of lesson 0: two without the scale, one right under another name, one who has not started."""
    monkeypatch.setattr("minilora.cli.course.LESSONS", (0,))
    files = {
        "ada/lesson_00.py": SCALELESS,
        "ben/lesson_00 (1).py": SCALELESS,
        "cleo/lesson_00.py": (STUBS / "lesson_00.py").read_text(encoding="utf-8"),
        "dan/my_work.py": (SOLUTIONS / "lesson_00.py").read_text(encoding="utf-8"),
    }
    for name, text in files.items():
        (tmp_path / "class" / name).parent.mkdir(parents=True)
        (tmp_path / "class" / name).write_text(text, encoding="utf-8")


@pytest.mark.usefixtures("a_class")
def test_the_summary_has_the_states_and_the_commonest_mistake(in_folder):
    said = in_folder(check, "--all", "class", "--summary").stdout
    row = next(line for line in said.splitlines() if line.split()[:2] == ["0.1", "effective_weight"])
    assert row.split()[2:7] == ["1", "2", "1", "0", "0"]
    assert row.strip().endswith("2 students: the scale alpha / r is left out")
    assert "lesson_00 (1).py is taken for lesson_00.py" in said
    assert "0.1 failed: the scale alpha / r is left out" in said


@pytest.mark.slow
@pytest.mark.usefixtures("a_class")
def test_every_student_has_a_line_while_others_are_judged(in_folder, tmp_path):
    for n in range(8):  # answers whose mistake is looked for at the same time
        (tmp_path / "class" / f"e{n}").mkdir()
        (tmp_path / "class" / f"e{n}" / "lesson_00.py").write_text(SCALELESS.replace("B @ A", "3.5"), encoding="utf-8")
    said = in_folder(check, "--all", "class").stdout
    assert said.count("of 1 passed") == 12


@pytest.mark.usefixtures("a_class")
def test_the_wide_table_has_a_row_for_each_student(in_folder, tmp_path):
    in_folder(check, "--all", "class", "--wide", "wide.csv", "--csv", "long.csv")
    rows = list(csv.DictReader((tmp_path / "wide.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert [(Path(r["folder"]).name, r["passed"], r["0.1"]) for r in rows] == [
        ("ada", "0", "failed"),
        ("ben", "0", "failed"),
        ("cleo", "0", "not started"),
        ("dan", "1", "passed"),
    ]
    long = list(csv.DictReader((tmp_path / "long.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert [r["file"] for r in long] == ["lesson_00.py", "lesson_00 (1).py", "lesson_00.py", "my_work.py"]
    assert [r["imports"] for r in long] == ["", "", "numpy", ""]
    assert long[0]["mistake"] == "the scale alpha / r is left out"


@pytest.mark.parametrize(("option", "value"), [("--csv", "x.csv"), ("--wide", "x.csv"), ("--summary", None)])
def test_the_tables_of_a_class_need_all(in_folder, option, value):
    refused = in_folder(check, "1", option, *([value] if value else [])).exception
    assert isinstance(refused, ConfigError) and str(refused) == f"{option} needs --all DIR..."


@pytest.mark.usefixtures("a_class")
def test_a_submission_that_changes_its_folder_is_told(in_folder, tmp_path):
    own = tmp_path / "class" / "ada" / "lesson_00.py"
    text = f"def effective_weight(W, A, B, alpha, r):\n    open({str(own)!r}, 'a').write('#')\n    return W\n"
    own.write_text(text, encoding="utf-8")
    assert f"changed while they were checked: {Path('class/ada')}" in in_folder(check, "--all", "class").stderr
