"""What the README promises is run here."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_python_in_the_readme_runs(readme, tmp_path):
    code = re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("trainable params: ")


def test_the_check_script_finds_both_commands_in_the_readme(readme):
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for mark in ("tour", "tests"):
        assert f"readme_command {mark}" in script
        assert re.search(rf"<!-- {mark} -->\n    \S.*\n", readme)


def test_every_file_and_figure_that_the_readme_names_exists(readme):
    paths = re.findall(r"`((?:minilora|lessons|benchmarks|data)/[^` ]+)`|\]\(([^)#]+)\)", readme)
    assert paths
    for path in paths:
        assert (ROOT / (path[0] or path[1])).exists(), path


def test_every_command_that_the_readme_names_exists(readme):
    from minilora.cli import COMMANDS

    named = set(re.findall(r"`minilora ([a-z]+)", readme))
    assert named and named <= set(COMMANDS)


def test_the_speed_that_the_readme_claims_is_the_one_that_was_measured(readme):
    lines = (ROOT / "benchmarks" / "results" / "speed.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["what"] == "step" and row["labels"] != "33%"]  # equal work
    free = [row["here/torch"] for row in rows if row["kernel"] != "Haswell" and row["threads"] == 1]
    two = [row["here/torch"] for row in rows if row["threads"] == 2]
    avx2 = [row["here/torch"] for row in rows if row["kernel"] == "Haswell"]
    said = " ".join(readme.split())
    assert f"takes {min(free):.2f} to {max(free):.2f} of the time of PyTorch + PEFT" in said
    assert f"on two {min(two):.2f} to {max(two):.2f}" in said
    assert f"{min(avx2):.2f} to {max(avx2):.2f} with both held to AVX2" in said


def test_the_page_of_results_shows_every_measured_row():
    from benchmarks.step import ROWS

    page = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    for file in ("speed.jsonl", "methods.jsonl"):
        lines = (ROOT / "benchmarks" / "results" / file).read_text(encoding="utf-8").splitlines()
        assert lines
        for line in lines:
            row = json.loads(line)
            assert ROWS[row["what"]](row) in page
