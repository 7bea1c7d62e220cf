"""python -m benchmarks.data: the way of data to the first step."""

import json
import re

import pytest
from click.testing import CliRunner

pytest.importorskip("resource")  # not on Windows

from benchmarks.data import main, make_rows, make_text


def test_as_many_rows_and_as_much_text_as_asked_are_made(tmp_path):
    make_rows(tmp_path / "rows.jsonl", 7)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 7 == len({row["prompt"] for row in rows}) and all(row["response"] for row in rows)
    make_text(tmp_path / "text.txt", 300_000)
    assert 300_000 <= (tmp_path / "text.txt").stat().st_size < 600_000


@pytest.mark.slow
def test_it_prints_the_memory_of_a_text_and_the_time_of_rows():
    result = CliRunner().invoke(main, ["--rows", "40", "--megabytes", "1", "--rounds", "1"])
    assert result.exit_code == 0, result.output
    expected = r"1 MB of text: \d+ s, -?\d+\.\d bytes of memory per byte\n40 rows, this version: \d+\.\d s\n"
    assert re.fullmatch(expected, result.output)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rounds", "0"], "Invalid value for '--rounds': 0 is not in the range x>=1."),
        (["--rows", "0"], "Invalid value for '--rows': 0 is not in the range x>=1."),
        (["--against", "tests"], "--against tests: no checkout of minilora, which has minilora/__init__.py"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line(options, said):
    result = CliRunner().invoke(main, options)
    assert result.exit_code == 2 and result.output == f"Error: {said}\n"
