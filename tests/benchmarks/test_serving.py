"""python -m benchmarks.serving."""

import pytest
from click.testing import CliRunner

from benchmarks import serving


@pytest.mark.slow
def test_the_table_has_a_row_for_each_size():
    options = ["--sizes", "lesson", "--targets", "qv", "--rows", "4", "--repeats", "3", "--no-traffic"]
    result = CliRunner().invoke(serving.main, options)
    lines = result.output.splitlines()
    assert result.exit_code == 0, result.output
    assert lines[2].startswith("lesson") and len(lines[2].split()) == 12


@pytest.mark.slow
def test_adapters_that_do_not_fit_are_read_again(capsys):
    serving.show_traffic("round-robin", adapters=4, slots=2, memory=2, requests=8)
    assert "8 requests of 16 + 16 tokens over 4 adapters, 2 slots, 2 in memory" in capsys.readouterr().out


def test_an_unknown_size_is_refused_in_one_line():
    result = CliRunner().invoke(serving.main, ["--sizes", "huge"])
    assert result.exit_code == 2 and "no 'huge'; there are: lesson" in result.output
