"""LoRA's update is written into the output of the frozen layer: safe, because nothing else reads that array.

Compared, for every kind of base, with the same sum written as separate operations that change nothing in place.
"""

import numpy as np
import pytest
from tiny import random_ids, tiny_llama

from minilora import ops
from minilora.adapters.model import get_peft_model
from minilora.autograd import Tensor
from minilora.methods import lora as layer
from minilora.methods.lora import LoraConfig
from minilora.models.gpt2 import Conv1D, GPT2Config, GPT2LMHeadModel
from minilora.nn import Linear


def apart(y, x, A, B, s):
    """low_rank_update without the writing."""
    return y + ops.linear(ops.linear(x, A), B) * s


def gpt2():
    config = GPT2Config(vocab_size=29, n_embd=16, n_layer=2, n_head=4, n_positions=32)
    return GPT2LMHeadModel(config).init(0, np.float64)


def llama(**options):
    return lambda: tiny_llama(dtype=np.float64, **options)


def adapted(make, targets, second=()):
    config = {"lora_alpha": 5, "init_lora_weights": False, "fan_in_fan_out": make is gpt2}
    model = get_peft_model(make(), LoraConfig(r=3, target_modules=targets, **config))
    if second:
        model.add_adapter("b", LoraConfig(r=2, target_modules=list(second), **config), seed=9)
        model.set_adapter(["default", "b"])
    return model


MODELS = {
    "llama": lambda: adapted(llama(), "all-linear"),
    "llama with biases": lambda: adapted(llama(attention_bias=True, mlp_bias=True), "all-linear"),
    "llama, embedding and tied head": lambda: adapted(llama(tie_word_embeddings=True), ["embed_tokens", "lm_head"]),
    "llama, two adapters": lambda: adapted(llama(), "all-linear", ["q_proj", "down_proj"]),
    "gpt2": lambda: adapted(gpt2, ["c_attn", "c_proj", "c_fc", "lm_head"]),
}


def step(model):
    """The loss and the gradients, of a first and a second backward through one graph."""
    ids = random_ids(shape=(3, 6))
    loss = model.loss(ids, ids)
    loss.backward(retain_graph=True)
    first = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    for p in model.parameters():
        p.grad = None
    loss.backward()
    second = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    return loss.item(), first, second


@pytest.mark.parametrize("name", MODELS)
def test_loss_and_gradients_are_those_of_separate_operations(name, monkeypatch):
    loss, first, second = step(MODELS[name]())
    monkeypatch.setattr(layer, "low_rank_update", apart)
    expected, gradients, _ = step(MODELS[name]())
    np.testing.assert_allclose(loss, expected, rtol=1e-13)
    assert gradients and first.keys() == second.keys() == gradients.keys()
    for key, wanted in gradients.items():
        np.testing.assert_allclose(first[key], wanted, rtol=1e-9, atol=1e-14, err_msg=key)
        assert np.array_equal(first[key], second[key])


@pytest.mark.parametrize("name", MODELS)
def test_frozen_arrays_keep_their_bits_and_a_second_forward_gives_the_same(name):
    model, ids = MODELS[name](), random_ids()
    before = {n: p.data.copy() for n, p in model.named_parameters()}
    first = model(ids).data.copy()
    model.loss(ids, ids).backward()
    assert np.array_equal(model(ids).data, first)
    for key, p in model.named_parameters():
        assert np.array_equal(p.data, before[key]), key


@pytest.mark.parametrize("make", [lambda: Linear(5, 7), lambda: Linear(5, 7, bias=True), lambda: Conv1D(5, 7)])
@pytest.mark.parametrize("shape", [(2, 4, 5), (5,), (0, 5), (1, 1, 5)])
def test_a_base_hands_out_an_array_of_its_own_each_time(make, shape, rng):
    base = make().init(0, np.float64)
    x = Tensor(rng.standard_normal(shape))
    y, again = base(x), base(x)
    others = [x.data, again.data, *(p.data for p in base.parameters())]
    assert not any(np.shares_memory(y.data, other) for other in others)


def test_a_merged_base_hands_out_an_array_of_its_own_too():
    model, ids = MODELS["llama, two adapters"](), random_ids()
    expected = model(ids).data.copy()
    model.merge_adapter(["default"])
    merged = [model(ids).data.copy() for _ in range(2)]
    np.testing.assert_allclose(merged[0], expected, rtol=1e-9, atol=1e-9)
    assert np.array_equal(*merged)
    model.unmerge_adapter()
    assert np.array_equal(model(ids).data, expected)


def test_writing_into_the_gradient_of_one_adapter_changes_no_other():
    model = MODELS["llama, two adapters"]()
    ids = random_ids()
    model.loss(ids, ids).backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(grads) > 1
    for i, a in enumerate(grads):
        assert not any(np.shares_memory(a, b) for b in grads[:i])
