"""A LoRA computed by a reader's functions: it computes and learns as the library's, and opens as an adapter."""

import numpy as np
import pytest
from exercise_answers import SOLUTIONS

import minilora as ml
from minilora.course.lab.own_lora import lora_from
from minilora.course.lab.tune import load_base
from minilora.course.submission import find_function

NAMES = ("lora_forward", "lora_gradients", "input_gradient")


@pytest.fixture
def functions():
    return [find_function(SOLUTIONS / "lesson_06.py", name)[0] for name in NAMES]


def gradients(model):
    ids = np.arange(12).reshape(2, 6)
    generator = np.random.default_rng(1)
    for name, p in model.named_parameters():
        if ".lora_B" in name:  # not zero, so that A learns too
            p.data = (0.01 * generator.standard_normal(p.shape)).astype(np.float32)
    loss = model.loss(ids, ids)
    loss.backward()
    return float(loss.data), {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


def test_the_readers_functions_give_the_librarys_loss_and_gradients(functions):
    own = gradients(lora_from(*functions, seed=3)[0])
    config = ml.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")
    library = gradients(ml.get_peft_model(load_base()[0], config, seed=3))
    assert len(own[1]) == 2 * 28
    assert own[0] == pytest.approx(library[0], rel=1e-5)
    for name, gradient in library[1].items():
        assert np.allclose(own[1][name], gradient, rtol=1e-3, atol=1e-4 * np.abs(gradient).max()), name


def test_every_layer_calls_the_readers_functions(functions):
    calls = [0, 0, 0]

    def counted(which):
        def call(*arguments):
            calls[which] += 1
            return functions[which](*arguments)

        return call

    model, _ = lora_from(*(counted(i) for i in range(3)))
    assert calls == [1, 1, 1]  # timed
    gradients(model)
    assert calls == [29, 29, 26]  # x of q, k and v of block 0 is embedded text: nobody asks for its gradient


def test_what_is_saved_opens_as_an_adapter(functions, tmp_path):
    model, _ = lora_from(*functions)
    gradients(model)
    model.save_pretrained(tmp_path)
    ids = np.arange(6)[None]
    opened = ml.PeftModel.from_pretrained(load_base()[0], tmp_path)
    assert np.allclose(opened(ids).data, model(ids).data, atol=1e-4)
    assert np.allclose(model.merge_and_unload()(ids).data, opened(ids).data, atol=1e-4)
