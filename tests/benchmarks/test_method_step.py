"""The comparison of a method's step with LoRA's: both sides adapt the same model."""

import numpy as np
import pytest

from benchmarks.method_step import TOTAL, config_of, peak_mib, step_here
from benchmarks.models import Size, batch, build
from minilora import get_peft_model
from minilora.adapters.registry import NAMES

TINY = Size(16, 1, 2, 1, 32, 2, 6)


@pytest.mark.parametrize("method", NAMES)
def test_a_step_of_every_method_lowers_the_loss(method):
    model = get_peft_model(build("llama", TINY), config_of(method)).train()
    step = step_here(method, model, *batch(TINY))
    losses = [step() for _ in range(60)]
    assert losses[-1] < losses[0]


def test_adalora_prunes_in_the_steps_that_are_measured():
    model = get_peft_model(build("llama", TINY), config_of("adalora")).train()
    adapter = model.base_model.adapters["default"]
    step_here("adalora", model, *batch(TINY))()
    assert adapter.pattern is not None and adapter.config.total_step == TOTAL


def test_the_peak_is_what_numpy_allocates_and_gives_back():
    assert peak_mib(lambda: np.ones(2**20)) == pytest.approx(8, abs=0.1)
