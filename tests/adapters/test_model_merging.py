"""Merging is an explicit act: the same function before and after, and the same bits back."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import random_ids, tiny_llama, with_lora

import minilora as ml
from minilora import LoraConfig
from minilora.errors import ConfigError, GraphError
from minilora.models.gpt2 import GPT2Config, GPT2LMHeadModel

IDS = random_ids()
EVERYWHERE = ["q_proj", "v_proj", "down_proj", "embed_tokens", "lm_head"]


def two_active(**sizes):
    model = with_lora(tiny_llama(**sizes), EVERYWHERE)
    targets = ["q_proj", "up_proj", "lm_head"]
    model.add_adapter("b", LoraConfig(r=2, lora_alpha=7, target_modules=targets, init_lora_weights=False), seed=2)
    model.set_adapter(["default", "b"])
    return model


def gpt2():
    model = GPT2LMHeadModel(GPT2Config(vocab_size=29, n_embd=16, n_layer=2, n_head=4, n_positions=32)).init(0)
    targets = ["c_attn", "c_proj", "c_fc", "wte", "wpe", "lm_head"]
    return ml.get_peft_model(
        model, LoraConfig(r=3, lora_alpha=5, target_modules=targets, fan_in_fan_out=True, init_lora_weights=False)
    )


@pytest.mark.parametrize("make", [two_active, gpt2, lambda: two_active(tie_word_embeddings=True)])
def test_a_merged_model_computes_what_the_unmerged_one_does(make):
    model = make()
    before = model(IDS).numpy()
    model.merge_adapter()
    assert model.merged_adapters == model.active_adapters
    assert abs(model(IDS).numpy() - before).max() <= 1e-5 * abs(before).max()


@pytest.mark.parametrize("make", [two_active, gpt2, lambda: two_active(tie_word_embeddings=True)])
def test_unmerging_gives_back_the_very_same_arrays(make):
    model = make()
    before = {n: (p, p.data, p.data.tobytes()) for n, p in model.named_parameters(remove_duplicate=False)}
    logits = model(IDS).numpy()
    model.merge_adapter()
    model.unmerge_adapter()
    for name, p in model.named_parameters(remove_duplicate=False):
        assert p is before[name][0] and p.data is before[name][1] and p.data.tobytes() == before[name][2], name
    assert np.array_equal(model(IDS).numpy(), logits)


def test_a_hundred_merges_and_unmerges_drift_by_nothing():
    model = two_active()
    logits = model(IDS).numpy()
    for _ in range(100):
        model.merge_adapter()
        model.unmerge_adapter()
    assert np.array_equal(model(IDS).numpy(), logits)


@pytest.mark.parametrize("name", ["default", "b"])
def test_merging_a_subset_of_the_active_adapters_leaves_the_others_adding(name):
    model = two_active()
    before = model(IDS).numpy()
    model.merge_adapter([name])
    assert model.merged_adapters == [name] and model.active_adapters == ["default", "b"]
    assert abs(model(IDS).numpy() - before).max() <= 1e-5 * abs(before).max()


ANY = st.sampled_from(["q_proj", "v_proj", "down_proj", "embed_tokens", "lm_head"])


@settings(max_examples=40)
@given(
    targets=st.lists(st.lists(ANY, min_size=1, max_size=3, unique=True), min_size=1, max_size=3),
    tied=st.booleans(),
    data=st.data(),
)
def test_every_set_of_active_adapters_computes_the_same_function_however_it_is_merged(targets, tied, data):
    model = tiny_llama(tie_word_embeddings=tied)
    names = [f"a{i}" for i in range(len(targets))]
    for i, chosen in enumerate(targets):
        config = LoraConfig(r=2 + i, lora_alpha=5 + i, target_modules=chosen, init_lora_weights=False)
        if i == 0:
            model = ml.get_peft_model(model, config, names[0])
        else:
            model.add_adapter(names[i], config, seed=i)
    active = data.draw(st.lists(st.sampled_from(names), unique=True))
    model.set_adapter(active)
    expected = model(IDS).numpy()
    for _ in range(data.draw(st.integers(1, 3))):
        model.merge_adapter(data.draw(st.lists(st.sampled_from(active), unique=True)) if active else None)
        assert abs(model(IDS).numpy() - expected).max() <= 1e-5 * abs(expected).max()
    model.unmerge_adapter()
    assert np.array_equal(model(IDS).numpy(), expected)


def test_merging_the_rest_later_is_merging_all():
    model = two_active()
    before = model(IDS).numpy()
    model.merge_adapter(["b"])
    model.merge_adapter()
    assert sorted(model.merged_adapters) == ["b", "default"]
    assert abs(model(IDS).numpy() - before).max() <= 1e-5 * abs(before).max()


def test_merging_twice_adds_once():
    model = two_active()
    model.merge_adapter()
    once = model(IDS).numpy()
    model.merge_adapter()
    assert np.array_equal(model(IDS).numpy(), once)


def test_an_adapter_that_is_not_active_is_not_merged():
    model = two_active()
    model.set_adapter("default")
    with pytest.raises(ConfigError, match=r"'b' is not active \(default\)"):
        model.merge_adapter(["b"])
    assert model.merged_adapters == []


def test_merging_while_the_adapters_are_disabled_is_refused():
    model = two_active()
    with model.disable_adapter(), pytest.raises(ConfigError, match="disable_adapter"):
        model.merge_adapter()


def test_train_and_eval_do_not_merge():
    model = two_active()
    for mode in (True, False, True):
        model.train(mode)
        assert model.merged_adapters == []
    model.merge_adapter()
    for mode in (True, False):
        model.train(mode)
        assert model.merged_adapters == ["default", "b"]


def test_backward_refuses_by_name_when_a_trainable_adapter_is_merged():
    model = two_active()
    model.merge_adapter(["b"])
    with pytest.raises(GraphError, match="adapter 'b' is merged into .*unmerge_adapter"):
        model.loss(IDS, IDS).backward()
    model.unmerge_adapter()
    model.loss(IDS, IDS).backward()


def test_backward_works_when_a_frozen_adapter_is_merged():
    model = two_active()
    model.base_model.set_trainable("b", False)
    model.loss(IDS, IDS).backward()
    expected = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    assert expected
    model.merge_adapter(["b"])
    for p in model.parameters():
        p.grad = None
    model.loss(IDS, IDS).backward()
    assert {n for n, p in model.named_parameters() if p.grad is not None} == expected.keys()
    for name, p in model.named_parameters():
        if p.requires_grad:
            assert np.allclose(p.grad, expected[name], rtol=1e-3, atol=1e-5 * abs(expected[name]).max()), name


def test_generation_does_not_mind_a_merged_trainable_adapter():
    model = two_active()
    before = model.generate(IDS[:1], max_new_tokens=4)[0]
    model.merge_adapter()
    assert np.array_equal(model.generate(IDS[:1], max_new_tokens=4)[0], before)


def changes(tmp_path):
    two_active().save_pretrained(tmp_path)
    return {
        "set_adapter": lambda m: m.set_adapter("b"),
        "add_adapter": lambda m: m.add_adapter("new", LoraConfig(r=2, target_modules=["q_proj"])),
        "delete_adapter": lambda m: m.delete_adapter("b"),
        "load_adapter": lambda m: m.load_adapter(tmp_path, "new"),
        "disable_adapter": lambda m: m.disable_adapter().__enter__(),
        "unload": lambda m: m.unload(),
    }


@pytest.mark.parametrize(
    "name", ["set_adapter", "add_adapter", "delete_adapter", "load_adapter", "disable_adapter", "unload"]
)
def test_what_changes_the_adapters_of_a_merged_model_unmerges_first_and_says_so_in_one_line(name, tmp_path):
    model, plain = two_active(), two_active()
    act = changes(tmp_path)[name]
    model.merge_adapter()
    with pytest.warns(UserWarning, match=f"{name}: adapters default, b were merged and are unmerged first") as said:
        act(model)
    assert len(said) == 1 and "\n" not in str(said[0].message)
    act(plain)
    assert model.merged_adapters == [] and np.array_equal(model(IDS).numpy(), plain(IDS).numpy())


def test_the_warning_points_at_the_callers_line():
    model = two_active()
    model.merge_adapter()
    with pytest.warns(UserWarning) as said:
        model.set_adapter("b")
    assert said[0].filename == __file__


def test_a_broken_adapter_is_not_merged_and_leaves_no_layer_merged():
    model = two_active()
    model.get_base_model().lm_head.adapters["default"].B.data[0, 0] = np.nan
    with pytest.raises(ConfigError, match="merging default into lm_head gives numbers that are not finite"):
        model.merge_adapter(["default"])
    assert model.merged_adapters == []


def test_merge_and_unload_returns_the_plain_model():
    model = two_active()
    expected = model(IDS).numpy()
    plain = model.merge_and_unload()
    assert plain is model.get_base_model() and type(plain) is type(tiny_llama())
    assert [n for n, _ in plain.named_parameters()] == [n for n, _ in tiny_llama().named_parameters()]
    assert abs(plain(IDS).numpy() - expected).max() <= 1e-5 * abs(expected).max()


def test_merge_and_unload_of_one_adapter_leaves_the_others_out():
    model = two_active()
    model.set_adapter("default")
    expected = model(IDS).numpy()
    merged = two_active().merge_and_unload(["default"])
    assert abs(merged(IDS).numpy() - expected).max() <= 1e-5 * abs(expected).max()


def test_merge_and_unload_of_a_merged_model_does_not_merge_twice():
    model = two_active()
    expected = model(IDS).numpy()
    model.merge_adapter()
    with pytest.warns(UserWarning, match="unmerged first"):
        plain = model.merge_and_unload()
    assert abs(plain(IDS).numpy() - expected).max() <= 1e-5 * abs(expected).max()


def test_unload_returns_the_base_to_the_bit():
    model = two_active()
    base = tiny_llama()
    plain = model.unload()
    assert all(np.array_equal(p.data, q.data) for p, q in zip(plain.parameters(), base.parameters(), strict=True))
    assert np.array_equal(plain(IDS).numpy(), base(IDS).numpy())


@pytest.mark.parametrize("target", ["embed_tokens", "lm_head"])
def test_merging_into_a_tied_matrix_unties_it_and_its_partner_keeps_the_original(target):
    model = with_lora(tiny_llama(tie_word_embeddings=True), [target])
    expected = model(IDS).numpy()
    original = tiny_llama(tie_word_embeddings=True).lm_head.weight.data
    plain = model.merge_and_unload()
    changed, partner = plain.model.embed_tokens.weight, plain.lm_head.weight
    if target == "lm_head":
        changed, partner = partner, changed
    assert np.array_equal(partner.data, original) and np.any(changed.data != original)
    assert abs(plain(IDS).numpy() - expected).max() <= 1e-5 * abs(expected).max()


@pytest.mark.parametrize("target", ["embed_tokens", "lm_head"])
def test_a_merged_tied_model_is_saved_with_both_matrices_and_untied(target, tmp_path):
    model = with_lora(tiny_llama(tie_word_embeddings=True), [target])
    plain = model.merge_and_unload()
    plain.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["tie_word_embeddings"] is False
    assert np.array_equal(ml.load_pretrained(tmp_path)(IDS).numpy(), plain(IDS).numpy())


def test_moving_a_merged_model_keeps_what_unmerging_needs():
    model = two_active()
    logits = model(IDS).numpy()
    model.merge_adapter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.to("cpu")
    model.unmerge_adapter()
    assert np.array_equal(model(IDS).numpy(), logits)


def test_the_merge_keeps_the_dtype_of_the_base():
    model = with_lora(tiny_llama(dtype=np.float64), EVERYWHERE)
    model.merge_adapter()
    assert {layer.base_layer.dense().dtype for layer in model.base_model.layers} == {np.dtype(np.float64)}
    model = two_active()
    model.merge_adapter()
    assert {layer.base_layer.dense().dtype for layer in model.base_model.layers} == {np.dtype(np.float32)}


def test_merging_needs_an_adapter_that_does_something():
    model = two_active()
    before = [layer.base_layer.dense() for layer in model.base_model.layers]
    model.merge_adapter()
    after = [layer.base_layer.dense() for layer in model.base_model.layers]
    assert before and all(abs(a - b).max() > 1e-3 for a, b in zip(after, before, strict=True))
