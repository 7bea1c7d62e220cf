"""The section GPU of RESULTS.md: what was measured is there, and what was not is said to be so."""

import json

import pytest

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
    assert page.page(text, page.read_rows()) == text, "run python -m benchmarks.gpu.page"


def test_what_was_not_measured_is_said_not_to_be():
    text = page.page(EMPTY, [])
    names = ", ".join(f"`{name}`" for name in NAMES)
    assert f"**Not measured**, because we had no device: {names}." in text and "###" not in text
    assert text.count("| **not measured** |") == 2
    measured = page.page(EMPTY, [ABOUT | STEP | {"what": "step"}])
    assert "### `python -m benchmarks.gpu step`" in measured and "no device: `rates`, `kernels`" in measured


def test_a_row_is_shown_under_its_card_and_a_rehearsal_is_not():
    shown, small = ABOUT | STEP, ABOUT | STEP | {"small": True, "width": 64}
    text = page.page(EMPTY, [shown, small, shown | {"card": "another card"}])
    assert text.count(step.STEP.head) == 2
    assert text.count(step.row(shown)) == 2 and step.row(small) not in text
    assert "a card, driver 13000, CUDA 13000 (torch: 13.0); cupy 14.2.0." in text and "another card, driver" in text


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"here/torch": 0.94}, "at most 1.0 | 0.94: met |"),
        ({"here/torch": 1.04}, "at most 1.0 | 1.04: at it |"),
        ({"here/torch": 1.06}, "at most 1.0 | 1.06: **missed** |"),
        ({"here/torch": 1.06, "trained": "full"}, "at most 1.0 | **not measured** |"),
        ({"here/torch": 1.06, "precision": "float16"}, "at most 1.0 | **not measured** |"),
        ({"width": 4096, "share": 0.64}, "at least 60% | 64%: met |"),
        ({"width": 4096, "share": 0.58}, "at least 60% | 58%: at it |"),
        ({"width": 4096, "share": 0.5}, "at least 60% | 50%: **missed** |"),
    ],
)
def test_the_verdict_on_a_target_follows_from_the_rows(changes, line):
    assert line in page.page(EMPTY, [ABOUT | STEP | changes])


def test_rows_are_read_one_from_each_line(tmp_path):
    assert page.read_rows(tmp_path / "gpu.jsonl") == []
    (tmp_path / "gpu.jsonl").write_text(f"{json.dumps(ABOUT)}\n{json.dumps(STEP)}\n", encoding="utf-8")
    assert page.read_rows(tmp_path / "gpu.jsonl") == [ABOUT, STEP]
