"""The section GPU of RESULTS.md: what was measured is there, and what was not is said to be so."""

import json

import pytest
from click.testing import CliRunner

from benchmarks.gpu import page, step
from benchmarks.gpu.measurements import NAMES

ABOUT = {
    "what": "step", "small": False, "card": "a card", "driver": 13000, "cuda": 13000, "torch_cuda": "13.0",
    "versions": {"cupy": "14.2.0"},
}  # fmt: skip
STEP = {
    "width": 768, "trained": "q,v", "precision": "float32", "tokens": 2048, "here": 8.0, "torch": 10.0,
    "here/torch": 0.8, "quartiles": [0.79, 0.81], "rate": 1e13, "share": 0.5, "here_mib": 100, "torch_mib": 120,
    "loss_difference": 1e-6,
}  # fmt: skip
EMPTY = "<!-- table gpu targets -->\n<!-- end -->\n<!-- table gpu -->\n<!-- end -->\n"


def test_the_page_has_the_rows_that_were_measured():
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.page(text, page.read_rows(page.RESULTS)) == text, "run python -m benchmarks.gpu.page"


def test_what_was_not_measured_is_said_not_to_be():
    text = page.page(EMPTY, [])
    names = ", ".join(f"`{name}`" for name in NAMES)
    assert f"**Not measured on a device yet**: {names}." in text and "###" not in text
    assert text.count("| **not measured** |") == 2
    measured = page.page(EMPTY, [ABOUT | STEP | {"what": "step"}])
    assert "### `python -m benchmarks.gpu step`" in measured and "yet**: `rates`, `kernels`" in measured


def test_a_row_is_shown_under_its_card_and_a_rehearsal_is_not():
    shown, small = ABOUT | STEP, ABOUT | STEP | {"small": True, "width": 64}
    text = page.page(EMPTY, [shown, small, shown | {"card": "another card"}])
    assert text.count(step.STEP.head) == 2
    assert text.count(step.row(shown)) == 2 and step.row(small) not in text
    assert "a card, driver 13000, CUDA 13000 (torch: 13.0); cupy 14.2.0." in text and "another card, driver" in text


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"here/torch": 0.94}, "at most 1.0 | q,v float32 0.94: met |"),
        ({"here/torch": 1.04}, "at most 1.0 | q,v float32 1.04: at it |"),
        ({"here/torch": 1.06}, "at most 1.0 | q,v float32 1.06: **missed** |"),
        ({"here/torch": 1.06, "trained": "full"}, "at most 1.0 | **not measured** |"),
        ({"here/torch": 1.06, "precision": "float16"}, "at most 1.0 | **not measured** |"),
        ({"width": 4096, "share": 0.64}, "at least 60% | q,v float32 64%: met |"),
        ({"width": 4096, "share": 0.58}, "at least 60% | q,v float32 58%: at it |"),
        ({"width": 4096, "share": 0.5}, "at least 60% | q,v float32 50%: **missed** |"),
    ],
)
def test_the_verdict_on_a_target_follows_from_the_rows(changes, line):
    assert line in page.page(EMPTY, [ABOUT | STEP | changes])


def test_of_a_step_that_was_measured_again_the_last_is_judged():
    text = page.page(EMPTY, [ABOUT | STEP | {"here/torch": ratio} for ratio in (1.2, 0.9)])
    assert "at most 1.0 | q,v float32 0.90: met |" in text


def test_verdicts_of_two_cards_name_the_card():
    text = page.page(EMPTY, [ABOUT | STEP, ABOUT | STEP | {"card": "another"}])
    assert "| a card, q,v float32 0.80: met; another, q,v float32 0.80: met |" in text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"what": "st', "gpu.jsonl, line 2: not a whole row; delete the line"),
        (json.dumps(ABOUT), "a row has no 'trained'; it is of another version, delete it"),
    ],
)
def test_a_line_that_is_no_row_is_one_line_and_the_page_is_kept(line, said, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    page.PAGE.write_text(EMPTY, encoding="utf-8")
    monkeypatch.setattr(page, "RESULTS", tmp_path / "gpu.jsonl")
    page.RESULTS.write_text(f"{json.dumps(ABOUT | STEP)}\n{line}\n", encoding="utf-8")
    done = CliRunner().invoke(page.main)
    assert done.exit_code == 2 and done.output.count("\n") == 1 and said in done.output
    assert page.PAGE.read_text(encoding="utf-8") == EMPTY


def test_rows_are_read_one_from_each_line(tmp_path):
    assert page.read_rows(tmp_path / "gpu.jsonl") == []
    (tmp_path / "gpu.jsonl").write_text(f"{json.dumps(ABOUT)}\n{json.dumps(STEP)}\n", encoding="utf-8")
    assert page.read_rows(tmp_path / "gpu.jsonl") == [ABOUT, STEP]
