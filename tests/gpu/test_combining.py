"""Several adapters made into one on a device, by every type of combination."""

import pytest
from places import assert_close, is_all_on, slow_but
from tiny import random_ids, tiny_llama

import minilora as ml
from minilora.combining.adapters import TYPES

IDS = random_ids()
DENSITY = {"density": 0.6}


def combined(device, kind, **options):
    model = tiny_llama()
    configs = [ml.LoraConfig(r=3, lora_alpha=alpha, target_modules="all-linear", init_lora_weights=False) for alpha in
               (5, 4)]  # fmt: skip
    model = ml.get_peft_model(model, configs[0], "a", seed=1)
    model.add_adapter("b", configs[1], seed=2)
    model.to(device)
    model.add_weighted_adapter(["a", "b"], [0.7, 0.4], "c", kind, **options)
    model.set_adapter("c")
    assert is_all_on(model, "cpu" if device == "cpu" else "cuda:0")
    return model(IDS).data


@pytest.mark.parametrize("kind", slow_but(("cat", "ties_svd"), sorted(TYPES)))
def test_adapters_are_combined_on_a_device_as_on_the_cpu(device, kind):
    options = DENSITY if any(word in kind for word in ("ties", "dare", "magnitude")) else {}
    assert_close(combined(device, kind, **options), combined("cpu", kind, **options))
