"""The speed measurements refuse what they cannot measure: one line, exit code 2, before anything is started."""

from subprocess import CalledProcessError

import pytest
from click.testing import CliRunner

from benchmarks import costs, memory, options, speed_figure, start, step


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        (step, ["--sizes", "256,lessn"], "no 'lessn'; there are: lesson, 256, 768"),
        (step, ["--what", "steps"], "no 'steps'; there are: step"),
        (step, ["--method", "lora,dorra"], "no 'dorra'; there are: dora"),
        (step, ["--threads", "0"], "'0' is not a whole number"),
        (step, ["--threads", "1,two"], "'two' is not a whole number"),
        (step, ["--threads", ""], "'' is not a whole number"),
        (step, ["--threads", "1,4096"], "4096, but there are"),
        (step, ["--repeat", "5"], "No such option"),
        (step, ["--repeats", "1"], "1 is not in the range"),
        (memory, ["--sizes", "huge"], "no 'huge'"),
    ],
)
def test_a_wrong_option_is_one_line(command, arguments, said):
    done = CliRunner().invoke(command.main, arguments)
    assert done.exit_code == 2 and said in done.output and done.output.count("\n") == 1


def test_a_file_that_cannot_be_read_or_written_and_a_process_that_fails_are_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(options, "REFERENCE", ())
    monkeypatch.setattr(speed_figure, "HERE", tmp_path)
    monkeypatch.setattr(start.subprocess, "run", lambda *a, **k: (_ for _ in ()).throw(CalledProcessError(3, "python")))
    for command, arguments, said in (
        (speed_figure, [], "speed.jsonl"),
        (costs, ["--figure", str(tmp_path / "no" / "such" / "place.png")], "expected a file"),
        (start, [], "exit status 3"),
    ):
        done = CliRunner().invoke(command.main, arguments)
        assert done.exit_code == 2 and said in done.output and done.output.count("\n") == 1


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(options, "REFERENCE", ("sys", "no_such_library"))
    for command in (step, memory):
        done = CliRunner().invoke(command.main, [])
        assert done.exit_code == 2 and done.output.startswith("Error: no_such_library not installed: pip install")
