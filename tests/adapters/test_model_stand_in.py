"""LoRA in 16 bits, and on a base in fewer bits, on the stand-in for CuPy: the numbers are those of NumPy."""

import numpy as np
import pytest
import strict_cupy
from tiny import random_ids, tiny_llama

import minilora as ml
from minilora.backend import to_host
from minilora.models.pretrained import load_pretrained, storage_named
from minilora.training.loop import train
from minilora.training.optim import AdamW
from minilora.training.precision import precision_named

IDS = random_ids(shape=(3, 6))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny_llama().save_pretrained(folder)
    return folder


def on_stand_in(model):
    """Every array of `model` in a box, also those of weights in fewer bits and what adapters never train."""
    frozen = [p for a in model.base_model.adapters.values() for m in a.methods.values() for p in m.frozen.values()]
    for p in [*model.parameters(), *frozen]:
        stored = p.data
        while names := getattr(stored, "arrays", ()):
            for name in names:
                setattr(stored, name, strict_cupy.asarray(getattr(stored, name)))
            stored = getattr(stored, "rest", None)
        if not hasattr(p.data, "arrays"):
            p.data = strict_cupy.asarray(p.data)
    return model


def trained(place, folder, precision, quantize, **options):
    """The losses of four steps, and the adapter afterwards."""
    config = ml.LoraConfig(r=3, lora_alpha=5, target_modules="all-linear", **options)
    base = load_pretrained(folder, parts=ml.parts_of(config), **storage_named(quantize))
    model, losses = place(ml.get_peft_model(base, config)), []
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = AdamW(trainable, lr=1e-2, eps=1e-2)  # an eps so large that no rounding turns a step
    train(model, iter([(IDS, IDS)] * 9), optimizer, 4, precision=precision_named(precision),
          callbacks=[lambda run: losses.append(run.loss)])  # fmt: skip
    return [float(to_host(x)) for x in losses[1:]], [to_host(p.data) for p in optimizer.params]


@pytest.mark.parametrize(
    ("precision", "quantize", "options"),
    [
        ("float16", None, {}), ("bfloat16", None, {}), ("float16", None, {"use_dora": True}), ("float32", "nf4", {}),
        ("float32", "int8", {}), ("float32", "bf16", {}), ("float16", "nf4", {}),
        ("float32", "nf4", {"init_lora_weights": "pissa"}), ("float32", "nf4", {"use_dora": True}),
    ],
    ids=str,
)  # fmt: skip
def test_the_steps_are_those_of_numpy(folder, precision, quantize, options):
    here, there = (trained(place, folder, precision, quantize, **options) for place in (lambda m: m, on_stand_in))
    np.testing.assert_allclose(there[0], here[0], rtol=2e-4 if precision != "float32" else 1e-5)
    for a, b in zip(there[1], here[1], strict=True):
        assert a.dtype == b.dtype == np.float32
        np.testing.assert_allclose(a, b, atol=1e-3 if precision != "float32" else 1e-5)
