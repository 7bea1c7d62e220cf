"""Answers to the exercises as students write them: wrong ones, which must be caught, and right ones written
differently, which must pass. A test file registers them with two decorators and takes its tests from `tests()`."""

from pathlib import Path

import pytest

from minilora.course import runner
from minilora.course.judge import judge
from minilora.course.runner import LESSONS, exercise
from minilora.files.shipped import shipped


class Answers:
    def __init__(self):
        self.wrong_ones, self.right_ones = [], []

    def wrong(self, number, says):
        """A wrong answer to exercise `number`; the message must contain `says`."""
        return lambda function: self.wrong_ones.append((number, says, function)) or function

    def right(self, number):
        return lambda function: self.right_ones.append((number, function)) or function

    def tests(self):
        """Two parametrized tests: wrong answers are caught, and right ones pass."""

        @pytest.mark.parametrize(
            ("number", "says", "answer"), [pytest.param(*w, id=f"{w[0]}-{w[2].__name__}") for w in self.wrong_ones]
        )
        def test_a_wrong_answer_is_caught(number, says, answer):
            verdict = judge(exercise(number), answer)
            said = f"{verdict.message} {verdict.error!r}"
            assert verdict.state == "failed"
            assert says in said

        @pytest.mark.parametrize(
            ("number", "answer"), [pytest.param(*r, id=f"{r[0]}-{r[1].__name__}") for r in self.right_ones]
        )
        def test_a_right_answer_written_differently_passes(number, answer):
            verdict = judge(exercise(number), answer)
            assert (verdict.state, verdict.message, verdict.error) == ("passed", "", None)

        return test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes


STUBS = shipped("lessons/exercises")


SOLUTIONS = Path(__file__).parents[2] / "lessons" / "solutions"


EXERCISES = [e for lesson in LESSONS for e in runner.exercises(lesson)]


each = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.number)
