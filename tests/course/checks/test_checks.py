"""What holds for every exercise: its stub, its solution, its card, its hints."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from exercise_answers import SOLUTIONS, STUBS, each

from minilora.course import runner
from minilora.course.judge import judge
from minilora.course.runner import LESSONS, file_name
from minilora.course.submission import find_function


def functions_in(path):  # -> {name: source node}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.slow
@each
def test_every_stub_is_not_started(exercise):
    assert runner.check(exercise.number, STUBS).state == "not started"


@pytest.mark.slow
@each
def test_every_solution_passes(exercise):
    verdict = runner.check(exercise.number, SOLUTIONS)
    assert (verdict.state, verdict.message) == ("passed", "")


@pytest.mark.slow
@each
def test_every_known_mistake_is_caught_and_named_as_itself(exercise):
    assert exercise.misconceptions
    for sentence, mistaken in exercise.misconceptions:
        verdict = judge(exercise, mistaken)
        assert verdict.state == "failed", sentence
        assert sentence in verdict.message


@each
def test_an_exercise_has_three_wrong_answers_in_the_tests_and_two_right_ones(exercise):
    text = (Path(__file__).parent / f"test_lesson_{exercise.lesson:02d}.py").read_text(encoding="utf-8")
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


@pytest.mark.slow
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
    function, *_ = find_function(tmp_path / "lesson_01.py", "central_difference")
    assert function(None, 0, 0) == "mine"
