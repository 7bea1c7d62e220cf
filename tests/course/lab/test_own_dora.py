"""A model whose DoRA is computed by exercises has the library's outputs and gradients."""

import runpy

import numpy as np

import minilora as ml
from minilora.course.lab.own_dora import dora_from
from minilora.course.lab.tune import load_base
from minilora.files.shipped import shipped


def test_outputs_and_gradients_are_those_of_the_library():
    six, fifteen = (runpy.run_path(str(shipped(f"lessons/solutions/lesson_{n}.py"))) for n in ("06", "15"))
    mine, _ = dora_from(
        fifteen["dora_forward"], fifteen["magnitude_gradient"], six["lora_gradients"], six["input_gradient"]
    )
    config = ml.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", use_dora=True)
    theirs = ml.get_peft_model(load_base()[0], config, seed=0)
    ids = np.arange(2, 26).reshape(2, 12)
    rng = np.random.default_rng(0)
    for p, q in zip(mine.parameters(), theirs.parameters(), strict=True):
        if p.requires_grad:
            p.data = q.data = (p.data + 0.05 * rng.standard_normal(p.shape)).astype(np.float32)
    for model in (mine, theirs):
        model.loss(ids, ids).backward()
    np.testing.assert_allclose(mine(ids).numpy(), theirs(ids).numpy(), atol=1e-3)
    for p, q in zip(mine.parameters(), theirs.parameters(), strict=True):
        if p.requires_grad:
            np.testing.assert_allclose(p.grad, q.grad, atol=1e-3 * abs(q.grad).max())
