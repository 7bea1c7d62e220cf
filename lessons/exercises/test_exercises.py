"""The same checks as `minilora check`, for those who like pytest: `pytest DIR -k 06`, DIR with your answers."""

from pathlib import Path

import pytest

from minilora.course.runner import LESSONS, check, exercises, verdict_lines

EXERCISES = {
    f"{e.lesson:02d}_{e.number.split('.')[1]}_{e.function}": e
    for n in LESSONS
    for e in exercises(n)
}


@pytest.mark.parametrize("name", EXERCISES)
def test_exercise(name):
    verdict = check(EXERCISES[name].number, Path(__file__).parent)
    if verdict.state != "passed":
        pytest.fail("\n".join(verdict_lines(EXERCISES[name], verdict)), pytrace=False)
