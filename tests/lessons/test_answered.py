"""A reader who answers: with right functions in the cells every check passes, and later cells compute with them."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minilora.course.runner import LESSONS, exercises

ROOT = Path(__file__).parents[2]


def answered(number):  # -> the lesson as a script, with the solutions in place of the stubs
    (path,) = (ROOT / "lessons").glob(f"{number:02d}_*.py")
    source = path.read_text(encoding="utf-8")
    solutions = (ROOT / "lessons" / "solutions" / f"lesson_{number:02d}.py").read_text(encoding="utf-8")
    for e in exercises(number):
        before, _, rest = source.partition(f"def {e.function}(")
        _, _, after = rest.partition("raise NotImplementedError\n")
        others = {other.function for other in exercises(number)} - {e.function}
        source = f"{before}{_text(solutions, others)}\n{after}"
    return source


def _text(solutions, others):  # of a function, with the imports and the helpers of its file, without its neighbours
    wanted = [n for n in ast.parse(solutions).body[1:] if getattr(n, "name", "") not in others]
    return "\n".join(ast.unparse(node) for node in wanted)


@pytest.mark.parametrize("number", [pytest.param(n, marks=() if n == 1 else pytest.mark.slow) for n in LESSONS])
def test_a_lesson_goes_on_with_the_answers_of_its_reader(number, tmp_path):
    (tmp_path / "lesson.py").write_text(answered(number), encoding="utf-8")
    environment = {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "lesson.py"],
        cwd=tmp_path, env=os.environ | environment, capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    for e in exercises(number):
        assert f"{e.number}  {e.function}: passed" in done.stdout
        assert f"{e.number}: the lesson goes on with your {e.function}" in done.stdout
    assert "match: False" not in done.stdout
