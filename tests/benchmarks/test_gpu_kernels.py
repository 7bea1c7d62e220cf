"""Fused functions beside their steps, rehearsed on the stand-in."""

import numpy as np
import pytest

pytest.importorskip("torch")

from benchmarks.gpu import kernels
from minilora.device import fused

pytestmark = pytest.mark.reference


def test_every_fused_function_both_attentions_and_the_sum_over_rows_have_a_row(card):
    rows = list(kernels.measure(**kernels.SMALL[0]))
    assert [r["name"] for r in rows] == [*fused.chains(np), "rotary", "attention", "one query", "sum_rows"]
    assert all(r["here"] > 0 and r["other"] > 0 and r["bytes"] > 0 for r in rows)
    assert [r["beside"] for r in rows[-5:]] == ["steps", "halves", "torch", "products", "product"]
    assert len({len(kernels.row(r)) for r in rows}) == 1


def test_the_bytes_are_those_of_arrays_read_and_written(card):
    a, one = kernels.drawn((4, 8)), np.float32(1)
    assert kernels.moved("swiglu", [a, a], a) == 3 * a.nbytes
    assert kernels.moved("adamw", [a, a, a, a, one], None) == 7 * a.nbytes  # p, m and v are read and written
    assert kernels.moved("swiglu_backward", [a, a, a], (a, a)) == 5 * a.nbytes
