"""The two sides of `benchmarks.step --method` train one model from one start."""

import numpy as np
import pytest

pytest.importorskip("peft")

from benchmarks.method_step import config_of, step_here, step_there
from benchmarks.models import Size, batch, in_both
from minilora.adapters.registry import NAMES

pytestmark = pytest.mark.reference

TINY = Size(16, 1, 2, 1, 32, 2, 6)


@pytest.mark.parametrize("method", NAMES)
def test_the_losses_here_and_in_peft_are_equal_for_four_steps(method):
    here, there = in_both("llama", TINY, config_of(method))
    steps = step_here(method, here, *batch(TINY)), step_there(method, there, *batch(TINY))
    losses = [[step() for step in steps] for _ in range(4)]
    assert np.allclose(*np.transpose(losses), atol=1e-5)
