"""What the README promises is run here."""

import ast
import io
import json
import re
import subprocess
import sys
import tokenize
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
    for path in re.findall(r"`((?:minilora|lessons|benchmarks|data)/[^` ]+)`|\]\(([^)#]+)\)", readme):
        assert (ROOT / (path[0] or path[1])).exists(), path


CORE = ("backend.py", "autograd.py", "ops/*.py", "gradcheck.py", "nn.py", "models/context.py",
        "models/llama.py", "methods/lora.py", "adapters/layer.py", "adapters/targets.py")  # fmt: skip
NO_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


def lines_of_code(text):  # without comments, docstrings and empty lines
    docstrings = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            docstrings |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    code = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            code |= set(range(token.start[0], token.end[0] + 1))
    return len(code - docstrings)


def test_the_core_is_as_long_as_the_readme_says(readme):
    files = [p for pattern in CORE for p in (ROOT / "minilora").glob(pattern)]
    assert len(files) >= len(CORE)
    counted = sum(lines_of_code(p.read_text(encoding="utf-8")) for p in files)
    assert f"about {round(counted, -2):,} lines of code" in " ".join(readme.split())


def test_every_command_that_the_readme_names_exists(readme):
    from minilora.cli import COMMANDS

    assert set(re.findall(r"`minilora ([a-z]+)", readme)) <= set(COMMANDS)


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
    for line in (ROOT / "benchmarks" / "results" / "speed.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert ROWS[row["what"]](row) in page
