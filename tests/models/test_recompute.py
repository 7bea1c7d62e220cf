"""Gradient checkpointing: the same bits as without, in less memory, and a cache that grows once."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from tiny import random_ids, tiny_gpt2, tiny_llama, with_lora

import minilora as ml
from minilora.adapters.registry import config_named
from minilora.errors import GraphError
from minilora.models.cache import KVCache
from minilora.models.gemma import GemmaConfig, GemmaForCausalLM
from minilora.models.llama import LlamaConfig, LlamaForCausalLM
from minilora.models.phi3 import Phi3ForCausalLM
from minilora.training.loop import train
from minilora.training.optim import AdamW

SMALL = {
    "vocab_size": 29, "hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2,
}  # fmt: skip


def adapted(method, **fields):
    config = config_named(
        method, r=2, target_r=2, init_r=3, tinit=1, tfinal=1, total_step=9, target_modules="all-linear",
        num_virtual_tokens=3, lora_dropout=0.2, lora_alpha=5, **fields,
    )  # fmt: skip
    return ml.get_peft_model(tiny_llama(3), config, seed=1)


MODELS = {
    "full llama": lambda: tiny_llama(3),
    "full tied llama": lambda: tiny_llama(3, tie_word_embeddings=True),
    "full gpt2": tiny_gpt2,
    "full gemma": lambda: GemmaForCausalLM(GemmaConfig(**SMALL, sliding_window=3, attn_logit_softcapping=2.0)).init(0),
    "full phi3": lambda: Phi3ForCausalLM(LlamaConfig(**SMALL)).init(0),
    "lora with dropout": lambda: with_lora(tiny_llama(3), "all-linear", dropout=0.3),
    "lora on gpt2": lambda: with_lora(tiny_gpt2(), "all-linear", dropout=0.3, transposed=True),
    "lora in one block": lambda: with_lora(tiny_llama(3), r".*layers\.1.*(q_proj|down_proj)"),
    "copies": lambda: adapted("lora", modules_to_save=["o_proj", "input_layernorm"], exclude_modules=["o_proj"]),
    **{m: lambda m=m: adapted(m) for m in ("dora", "pissa", "adalora", "vera", "ia3")},
    **{m: lambda m=m: adapted(m) for m in ("prompt_tuning", "prefix_tuning")},
}
IDS = random_ids(2, (3, 9))
LABELS = np.where(np.arange(9) < 2, -100, IDS)


def step_of(model, checkpointing, backward=lambda loss: loss.backward()):
    """Loss, gradients, and the state of the generator after a step."""
    model.train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    rng = np.random.default_rng(5)
    loss = model.loss(IDS, LABELS, rng=rng)
    backward(loss)
    gradients = {n: None if p.grad is None else p.grad for n, p in model.named_parameters() if p.requires_grad}
    return loss.data, gradients, rng.bit_generator.state


@pytest.mark.parametrize("name", MODELS)
def test_loss_gradients_and_random_numbers_have_the_same_bits_as_without(name):
    (loss, kept, state), (again, recomputed, state_again) = (step_of(MODELS[name](), on) for on in (False, True))
    assert loss.tobytes() == again.tobytes() and state == state_again
    assert kept and kept.keys() == recomputed.keys()
    for path, gradient in kept.items():
        assert gradient is not None and gradient.tobytes() == recomputed[path].tobytes(), path


def test_a_whole_run_of_adalora_with_accumulated_batches_has_the_same_bits_as_without():
    def weights(checkpointing):
        model = adapted("adalora")
        if checkpointing:
            model.gradient_checkpointing_enable()
        batches = ((random_ids(n, (2, 7)), random_ids(n, (2, 7))) for n in range(99))
        optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
        train(model, batches, optimizer, 4, accumulate=3, rng=np.random.default_rng(0))
        return [p.data.tobytes() for p in model.parameters()]

    assert weights(True) == weights(False)


def test_a_second_backward_through_a_kept_graph_draws_the_same_dropout_again():
    def twice(loss):
        loss.backward(retain_graph=True)
        loss.backward()

    (_, once, _), (_, both, _) = (
        step_of(MODELS["lora with dropout"](), True, b) for b in (lambda x: x.backward(), twice)
    )
    assert all(np.array_equal(2 * g, both[path]) for path, g in once.items())


def test_a_backward_inside_no_grad_gives_the_same_gradients():
    def quietly(loss):
        with ml.no_grad():
            loss.backward()

    (_, kept, _), (_, quiet, _) = step_of(tiny_llama(3), False), step_of(tiny_llama(3), True, quietly)
    assert all(np.array_equal(g, quiet[path]) for path, g in kept.items())


@pytest.mark.parametrize("prefix", [0, 3])
def test_a_cache_grows_once_and_has_the_keys_of_a_forward_without(prefix):
    caches = []
    for on in (False, True):
        model, cache = adapted("prefix_tuning") if prefix else tiny_llama(3), KVCache()
        if on:
            model.gradient_checkpointing_enable()
        loss = model.loss(IDS, LABELS, cache=cache)
        assert cache.length == prefix + 9
        loss.backward()
        assert cache.length == prefix + 9
        caches.append(cache)
    for layer, pair in caches[0].entries.items():
        for a, b in zip(pair, caches[1].entries[layer], strict=True):
            assert np.array_equal(a.data, b.data)


def test_a_gradient_that_would_pass_through_the_cache_to_an_earlier_forward_is_refused():
    model, cache = with_lora(tiny_llama(3)), KVCache()
    model.gradient_checkpointing_enable()
    model(IDS[:, :4], cache=cache)
    loss = model.loss(IDS[:, 4:], IDS[:, 4:], cache=cache)
    with pytest.raises(GraphError, match="no gradient passes through a cache"):
        loss.backward()


def test_a_forward_without_a_tape_computes_every_block_once(monkeypatch):
    model, calls = tiny_llama(3), []
    model.gradient_checkpointing_enable()
    monkeypatch.setattr("minilora.models.causal_lm.recomputed", lambda *a: calls.append(a))
    with ml.no_grad():
        model(IDS)
    assert not calls


def test_it_is_switched_on_and_off_by_transformers_names_on_a_model_and_on_one_with_adapters():
    for model in (tiny_llama(), with_lora(tiny_llama())):
        assert not model.is_gradient_checkpointing
        model.gradient_checkpointing_enable()
        assert model.is_gradient_checkpointing
        model.gradient_checkpointing_disable()
        assert not model.is_gradient_checkpointing


def test_the_memory_of_a_step_is_the_inputs_of_all_blocks_and_one_block():
    """What a block keeps is large beside its input; so eight blocks take less than twice what two take."""
    config = LlamaConfig(64, 96, 256, 2, 4)

    def peak(layers, checkpointing):
        model = with_lora(LlamaForCausalLM(replace(config, num_hidden_layers=layers)).init(0))
        if checkpointing:
            model.gradient_checkpointing_enable()
        ids = random_ids(0, (4, 100), 64)
        tracemalloc.start()
        model.loss(ids, ids).backward()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    inputs = 4 * 100 * 96 * 4
    assert peak(8, False) - peak(2, False) > 6 * 10 * inputs
    assert peak(8, True) - peak(2, True) < 6 * 1.2 * inputs
