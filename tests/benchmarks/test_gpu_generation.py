"""The measured generation, rehearsed: the stand-in as CuPy, transformers on the CPU, tiny sizes."""

import numpy as np
import pytest

from benchmarks.gpu import generation


@pytest.mark.reference
def test_both_sides_generate_the_same_tokens(card):
    pytest.importorskip("transformers")
    rows = list(generation.measure(**generation.GENERATION.small[0] | {"width": 32, "heads": 2, "seconds": 0}))
    assert [r["rows"] for r in rows] == [1, 2]
    assert all(r["first_difference"] is None and r["here"] > 0 and r["torch"] > 0 for r in rows)
    assert all("all" in generation.row(r) for r in rows)


def test_the_first_token_that_differs_is_found():
    ours = np.array([[5, 6, 7, 8], [1, 2, 3, 4]])
    assert generation.first_difference(ours, ours) is None
    theirs = ours.copy()
    theirs[1, 2] = theirs[0, 3] = 0
    assert generation.first_difference(ours, theirs) == 2


def test_a_row_says_tokens_a_second_launches_and_where_tokens_differ():
    line = generation.row(
        {"width": 768, "layers": 4, "rows": 16, "new": 64, "here": 512.0, "torch": 1024.0, "here/torch": 0.5,
         "quartiles": [0.4, 0.625], "first_difference": 7, "each_here": {"launches": 81.4},
         "each_torch": {"launches": None}}
    )  # fmt: skip
    assert line.split() == ["768", "4", "16", "2000", "1000", "2.00", "1.60-2.50", "81", "-", "first", "7"]
