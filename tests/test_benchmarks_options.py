"""The speed measurements refuse what they cannot measure: one line, exit code 2, before anything is started."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import gpu, memory, options, step


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        (step, ["--sizes", "256,lessn"], "no 'lessn'; there are: lesson, 256, 768"),
        (step, ["--what", "steps"], "no 'steps'; there are: step"),
        (step, ["--threads", "0"], "'0' is no whole number"),
        (step, ["--threads", "1,two"], "'two' is no whole number"),
        (step, ["--threads", ""], "'' is no whole number"),
        (step, ["--threads", "1,4096"], "4096, but there are"),
        (step, ["--repeat", "5"], "No such option '--repeat'"),
        (step, ["--repeats", "1"], "1 is not in the range"),
        (memory, ["--sizes", "huge"], "no 'huge'"),
        (gpu, ["--widths", "100"], "no '100'; there are"),
    ],
)
def test_a_wrong_option_is_one_line(command, arguments, said):
    done = CliRunner().invoke(command.main, arguments)
    assert done.exit_code == 2 and said in done.output and done.output.count("\n") == 1


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(options, "REFERENCE", ("sys", "no_such_library"))
    for command in (step, memory, gpu):
        done = CliRunner().invoke(command.main, [])
        assert done.exit_code == 2 and done.output.startswith("Error: no_such_library not installed: pip install")


def test_without_a_device_the_gpu_comparison_is_one_line(monkeypatch):
    monkeypatch.setattr(options, "REFERENCE", ())
    monkeypatch.setitem(sys.modules, "cupy", None)
    done = CliRunner().invoke(gpu.main, [])
    assert done.exit_code == 2 and "needs CuPy" in done.output and done.output.count("\n") == 1
