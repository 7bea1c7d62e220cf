"""The cells of the lessons in Pyodide under node, by the code of the page: a few in every run, all on demand.

MINILORA_PYODIDE names a folder with Pyodide's core and wheels. Every cell of every lesson (half an hour):

    MINILORA_EVERY_LESSON=1 python -m pytest tests/lessons/test_site_node.py -k every_lesson -s
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from lesson_modules import build, pages, site_pages

HERE = Path(__file__).parent

PYODIDE = os.environ.get("MINILORA_PYODIDE")
NODE = shutil.which("node")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not (PYODIDE and NODE), reason="needs node and MINILORA_PYODIDE")]
QUICK = (8,)  # lessons whose every cell runs in each run of the tests


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    site_pages.write_python(folder, site_pages.vendored(Path(PYODIDE), folder))
    return folder


def run(site, cells, kept=""):  # -> what each cell did: seconds, printed, pictures, error, kept
    asked = json.dumps({"cells": cells, "kept": kept})
    command = [NODE, str(HERE / "run_in_node.mjs"), str(site)]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, encoding="utf-8", check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines, done.stderr[-2000:]
    assert len(lines) == 1 + len(cells) or lines[-1].get("error"), done.stderr[-2000:]
    return lines[1:]


def cells_of(source):  # -> those that run in a page
    cells = [c for c in pages.read(source.with_suffix(".ipynb")) if c["cell_type"] == "code"]
    left_out = {"install", "machine-only"}
    return [pages.text_of(c["source"]) for c in cells if not left_out & set(c["metadata"].get("tags", []))]


def pictures_of(source):  # in the notebook, without those of cells that do not run in a page
    cells = [c for c in pages.read(source.with_suffix(".ipynb")) if c["cell_type"] == "code"]
    cells = [c for c in cells if "machine-only" not in c["metadata"].get("tags", [])]
    return sum("image/png" in o.get("data", {}) for c in cells for o in c["outputs"])


def lesson(number):
    return build.sources([number])[0]


TRAIN = """
from minilora import LoraConfig, get_peft_model
model = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"), seed=0)
losses = tune(model, tokenizer, "style-json", steps=3)
print(len(losses), losses[0] > losses[-1] > 0)
"""
JUDGE = """
from minilora.course.lesson import check, answer
def lora_forward(x, W, A, B, alpha, r):
    return x @ W.T + alpha / r * (x @ A.T) @ B.T
check("6.1", lora_forward)
def lora_forward(x, W, A, B, alpha, r):
    return x @ W.T + (x @ A.T) @ B.T
check("6.1", lora_forward)
"""


def test_lesson_0_begins_a_step_trains_and_the_judge_judges(site):
    first, trained, judged = run(site, [cells_of(lesson(0))[0], TRAIN, JUDGE])
    assert first["printed"].count("asked:") == 3 and "base:     Bess Moss" not in first["error"]
    assert (trained["printed"], trained["step"]) == ("3 True\n", "step 3 of 3")
    assert "6.1  lora_forward: passed (5 properties)" in judged["printed"]
    assert "alpha / r is left out" in judged["printed"]
    assert json.loads(judged["kept"])["states"] == {"6.1": "failed"}


EQUAL = """
import numpy as np
rng = np.random.default_rng(0)
def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)
worst, wrong = 0.0, []
for i in range(300):
    M, N, P = (int(n) for n in rng.integers(1, 40, 3))
    lead = tuple(rng.integers(1, 4, int(rng.integers(0, 3))))
    a, b = [
        (draw(*lead, M, N), draw(*lead, N, P)),
        (draw(*lead, N, M).swapaxes(-1, -2), draw(*lead, N, P)),
        (draw(*lead, M, N), draw(*lead, P, N).swapaxes(-1, -2)),
        (draw(*lead, 2 * M, N)[..., ::-2, :], draw(*lead, N, P)),
        (draw(*lead, M, N), draw(N, 3 * P)[:, ::3]),
        (draw(N), draw(*lead, N, P)),
    ][i % 6]
    got, right = a @ b, np.matmul(a.astype(float), b.astype(float))
    if got.shape != right.shape or got.dtype != np.float32:
        wrong.append((a.shape, b.shape))
    worst = max(worst, float(np.abs(got - right).max() / (1e-3 + np.abs(a).max() * np.abs(b).max() * N)))
print(wrong, worst < 1e-6)
print((draw(3, 0) @ draw(0, 4)).tolist() == [[0.0] * 4] * 3, (draw(0, 3) @ draw(3, 4)).shape, draw(3, 3) @ draw(3, 0))
into = draw(6, 6)
right = into.astype(float) @ into.astype(float)
np.matmul(into, into, out=into)
print(np.abs(into - right).max() < 1e-5)
nan = np.array([[np.nan, 1.0]], np.float32)
print(nan @ np.zeros((2, 1), np.float32))
"""


def test_the_fast_product_is_numpys_for_every_shape_and_stride(site):
    (done,) = run(site, [EQUAL])
    assert done["printed"].splitlines() == ["[] True", "True (0, 4) []", "True", "[[nan]]"]


def test_an_answer_of_an_earlier_page_is_known_and_a_cell_cannot_ask_the_reader(site):
    (first,) = run(site, [JUDGE.replace("(x @ A.T) @ B.T\ncheck", "alpha / r * (x @ A.T) @ B.T\ncheck")])
    later, asked = run(
        site, ["from minilora.course.lesson import answer\nanswer('6.1')", "input('your name?')"], kept=first["kept"]
    )
    assert later["printed"].startswith("6.1: the lesson goes on with your lora_forward\n<function lora_forward")
    assert asked["error"].endswith("a cell in a page cannot ask the reader: write the value into the cell")


def all_cells(site, source):
    done = run(site, cells_of(source))
    seconds = sum(cell["seconds"] for cell in done)
    print(f"\n{source.stem}: {len(done)} cells, {seconds:.0f} s, slowest {max(c['seconds'] for c in done):.0f} s")
    assert [cell["error"] for cell in done if cell["error"]] == []
    assert sum(cell["pictures"] for cell in done) == pictures_of(source)


@pytest.mark.parametrize("number", QUICK)
def test_all_cells_of_a_quick_lesson_run(site, number):
    all_cells(site, lesson(number))


@pytest.mark.skipif(not os.environ.get("MINILORA_EVERY_LESSON"), reason="takes half an hour: MINILORA_EVERY_LESSON=1")
@pytest.mark.parametrize("source", build.sources(), ids=lambda source: source.stem)
def test_every_cell_of_every_lesson_runs(site, source):
    all_cells(site, source)
