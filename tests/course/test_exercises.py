"""What holds for every exercise: its stub, its solution, its card, its hints; and the three commands."""

import ast
import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from minilora import Tensor
from minilora.cli.course import check, exercises, hint
from minilora.course import runner
from minilora.course.judge import Verdict, judge
from minilora.course.runner import LESSONS, file_name, find_function
from minilora.errors import ConfigError, UnknownNameError
from minilora.files.shipped import shipped

STUBS = shipped("lessons/exercises")
SOLUTIONS = Path(__file__).parents[2] / "lessons" / "solutions"
EXERCISES = [e for lesson in LESSONS for e in runner.exercises(lesson)]
each = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.number)


def functions_in(path):  # -> {name: source node}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


@each
def test_every_stub_is_not_started(exercise):
    assert runner.check(exercise.number, STUBS).state == "not started"


@each
def test_every_solution_passes(exercise):
    verdict = runner.check(exercise.number, SOLUTIONS)
    assert (verdict.state, verdict.message) == ("passed", "")


@each
def test_every_known_mistake_is_caught_and_named_as_itself(exercise):
    assert exercise.misconceptions
    for sentence, mistaken in exercise.misconceptions:
        verdict = judge(exercise, mistaken)
        assert verdict.state == "failed", sentence
        assert sentence in verdict.message


def test_a_changed_argument_is_said_once():
    def moves_and_moves_back(W, A, B, alpha, r):
        B *= alpha / r
        update = B @ A
        B /= alpha / r
        B += 1e-9
        return W + update

    assert judge(runner.exercise("0.1"), moves_and_moves_back).message.count("changes its") == 1


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
]


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
    if exercise.number == "11.2":
        pytest.skip("its answers are names")
    verdict = judge(exercise, lambda *arguments: on_numbers(change)(right(*arguments)))
    assert verdict.state == "failed"
    assert "You get this result" not in verdict.message


@each
def test_an_exercise_has_three_wrong_answers_in_the_tests_and_two_right_ones(exercise):
    text = (Path(__file__).parent / "checks" / f"test_lesson_{exercise.lesson:02d}.py").read_text(encoding="utf-8")
    assert text.count(f'answers.wrong("{exercise.number}"') >= 3
    assert text.count(f'answers.right("{exercise.number}"') >= 2


@each
def test_a_stub_has_the_arguments_of_its_solution(exercise):
    name = file_name(exercise.lesson)
    stub, solution = (functions_in(folder / name)[exercise.function] for folder in (STUBS, SOLUTIONS))
    assert [a.arg for a in stub.args.args] == [a.arg for a in solution.args.args]


@each
def test_a_stub_stands_under_its_card(exercise):
    text = (STUBS / file_name(exercise.lesson)).read_text(encoding="utf-8")
    card = f"# ---- {exercise.number} · {exercise.difficulty}, {exercise.minutes} minutes · "
    assert f"{card}{exercise.title}\n\n\ndef {exercise.function}(".lower() in text.lower()


@each
def test_every_exercise_has_three_hints_that_grow(exercise):
    assert len(set(exercise.hints)) == 3


@pytest.mark.parametrize("lesson", LESSONS)
def test_stubs_and_solutions_hold_the_exercises_in_order(lesson):
    names = [e.function for e in runner.exercises(lesson)]
    assert list(functions_in(STUBS / file_name(lesson))) == names
    assert [n for n in functions_in(SOLUTIONS / file_name(lesson)) if n in names] == names


@pytest.mark.parametrize("lesson", LESSONS)
def test_no_hint_is_in_a_stub(lesson):
    text = (STUBS / file_name(lesson)).read_text(encoding="utf-8")
    hints = [h for e in runner.exercises(lesson) for h in e.hints]
    assert hints
    assert [h for h in hints if h in text] == []


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
        ("5.9", "no exercise 5.9; lesson 5 has 5.1, 5.2, 5.3"),
        ("5", "lesson 5 has 5.1, 5.2, 5.3"),
        (
            "mine/lesson_05.py",
            "no exercise 'mine/lesson_05.py': give a number such as 5.2, and the folder with your files by --dir DIR",
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

    row = as_csv([(Path("a"), EXERCISES[0], Verdict("failed", message="=1+1"))]).splitlines()[1]
    assert row.endswith(",'=1+1")
    row = as_csv([(Path("=cmd"), EXERCISES[0], Verdict("passed"))]).splitlines()[1]
    assert row.startswith("'=cmd,")


def test_pytest_checks_the_own_file_by_lesson(tmp_path):
    for source in (STUBS / "test_exercises.py", SOLUTIONS / "lesson_01.py"):
        shutil.copy(source, tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path), "-k", "01"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=tmp_path)
    assert f"{len(runner.exercises(1))} passed" in done.stdout


def test_the_reference_is_never_imported_in_place_of_the_students_file(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "lesson_01", None)  # so that what is loaded here is forgotten again
    (tmp_path / "lesson_01.py").write_text("def central_difference(f, x, eps):\n    return 'mine'\n", encoding="utf-8")
    function, _ = find_function(tmp_path / "lesson_01.py", "central_difference")
    assert function(None, 0, 0) == "mine"
