"""Several adapters on one base: which of them act, which learn, and what that costs."""

import warnings

import numpy as np
import pytest
from tiny import random_ids, tiny_llama, with_lora

from minilora import LoraConfig
from minilora.errors import ConfigError, UnknownNameError
from minilora.nn import Embedding, Linear

IDS = random_ids()


def three_adapters():
    model = with_lora(tiny_llama(), ["q_proj", "v_proj"])
    model.add_adapter("b", LoraConfig(r=2, lora_alpha=7, target_modules=["down_proj"], init_lora_weights=False), 2)
    both = ["q_proj", "embed_tokens", "lm_head"]
    model.add_adapter("c", LoraConfig(r=4, lora_alpha=6, target_modules=both, init_lora_weights=False), 3)
    return model


def alone(name):
    """Logits of a model that has only adapter `name`."""
    model = three_adapters()
    for other in {"default", "b", "c"} - {name}:
        model.delete_adapter(other)
    model.set_adapter(name)
    return model(IDS).numpy()


@pytest.mark.parametrize("name", ["default", "b", "c"])
def test_switching_is_exact(name):
    model = three_adapters()
    for other in ("b", "c", "default"):
        model.set_adapter(other)
        model(IDS)
    model.set_adapter(name)
    assert np.array_equal(model(IDS).numpy(), alone(name))


def test_switching_touches_no_weight(monkeypatch):
    model = three_adapters()
    before = {n: p.data for n, p in model.named_parameters()}

    def refuse(self):
        raise AssertionError("a pass over the weights")

    for kind in (Linear, Embedding):
        monkeypatch.setattr(kind, "dense", refuse)
    for names in ("b", ["default", "c"], [], "default"):
        model.set_adapter(names)
        with model.disable_adapter():
            pass
    assert all(p.data is before[n] for n, p in model.named_parameters())


def test_two_active_adapters_add():
    model = with_lora(tiny_llama(dtype=np.float64), ["q_proj"])
    config = LoraConfig(r=2, lora_alpha=7, target_modules=["q_proj"], init_lora_weights=False)
    model.add_adapter("b", config, seed=2)
    model.set_adapter(["default", "b"])
    layer = model.get_base_model().model.layers[0].self_attn.q_proj
    x = np.random.default_rng(0).standard_normal((3, layer.shape[1]))
    from minilora import Tensor

    W = layer.base_layer.weight.data + sum(layer.adapters[n].delta() for n in ("default", "b"))
    assert np.allclose(layer(Tensor(x), model.new_context()).numpy(), x @ W.T, rtol=1e-12)


def test_an_adapter_that_is_added_does_not_act_until_it_is_set():
    model = with_lora(tiny_llama())
    before = model(IDS).numpy()
    config = LoraConfig(r=2, target_modules=["down_proj", "q_proj"], init_lora_weights=False)
    model.add_adapter("b", config)
    assert model.active_adapters == ["default"] and np.array_equal(model(IDS).numpy(), before)


def test_adding_an_adapter_does_not_move_the_others():
    model = with_lora(tiny_llama())
    before = {n: p.data for n, p in model.named_parameters() if ".default." in n}
    assert before
    model.add_adapter("b", LoraConfig(r=2, target_modules=["q_proj"]))
    now = {n: p.data for n, p in model.named_parameters() if n in before}
    assert now.keys() == before.keys() and all(now[n] is before[n] for n in before)


def test_only_active_adapters_are_trainable():
    model = three_adapters()
    for active in ("b", ["default", "c"]):
        model.set_adapter(active)
        learning = {n for n, p in model.named_parameters() if p.requires_grad}
        names = [active] if isinstance(active, str) else active
        assert learning and all(any(f".{a}" in n for a in names) for n in learning)
    model.set_adapter("b", inference_mode=True)
    assert not any(p.requires_grad for p in model.parameters())


def test_an_adapter_that_is_added_is_frozen_until_it_is_set():
    model = with_lora(tiny_llama())
    model.add_adapter("b", LoraConfig(r=2, lora_alpha=7, target_modules=["q_proj"], modules_to_save=["model.norm"]), 2)
    mine = [p for n, p in model.named_parameters() if ".b." in n]
    assert len(mine) == 5 and not any(p.requires_grad for p in mine)  # A and B of two layers, the copy of the norm
    model.set_adapter("b")
    assert all(p.requires_grad for p in mine)


def test_only_active_adapters_get_gradients():
    model = three_adapters()
    model.set_adapter("b")
    model.loss(IDS, IDS).backward()
    assert {n.split(".")[-2] for n, p in model.named_parameters() if p.grad is not None} == {"b"}


def test_disable_adapter_gives_the_base_and_ends_with_its_block():
    model = three_adapters()
    base, adapted = tiny_llama()(IDS).numpy(), model(IDS).numpy()
    with model.disable_adapter(), model.disable_adapter():
        assert np.array_equal(model(IDS).numpy(), base)
    assert np.array_equal(model(IDS).numpy(), adapted)
    with pytest.raises(ZeroDivisionError), model.disable_adapter():
        _ = 1 / 0
    assert np.array_equal(model(IDS).numpy(), adapted)


def test_no_active_adapter_is_the_base():
    model = three_adapters()
    model.set_adapter([])
    assert np.array_equal(model(IDS).numpy(), tiny_llama()(IDS).numpy())
    assert model.active_adapters == [] and model.active_adapter == []


def test_active_adapter_is_a_name_when_there_is_one():
    model = three_adapters()
    assert model.active_adapter == "default"
    model.set_adapter(["b", "c", "b"])
    assert model.active_adapters == ["b", "c"] == model.active_adapter


@pytest.mark.parametrize("act", ["set_adapter", "delete_adapter", "merge_adapter", "merge_and_unload"])
def test_an_unknown_name_is_refused_with_the_known_ones(act):
    with pytest.raises(UnknownNameError, match="no adapter 'bb'; loaded: b, default, c"):
        getattr(three_adapters(), act)("bb")


def test_saving_an_unknown_adapter_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="no adapter 'x'"):
        three_adapters().save_pretrained(tmp_path, selected_adapters=["b", "x"])
    assert not list(tmp_path.iterdir())


def test_deleting_an_inactive_adapter_changes_nothing_else():
    model = three_adapters()
    before = model(IDS).numpy()
    model.delete_adapter("c")
    assert np.array_equal(model(IDS).numpy(), before) and list(model.peft_config) == ["default", "b"]
    assert not any(".c" in n for n, _ in model.named_parameters())


def test_deleting_the_active_adapter_activates_the_first_that_is_left():
    model = three_adapters()
    model.delete_adapter("default")
    assert model.active_adapters == ["b"] and np.array_equal(model(IDS).numpy(), alone("b"))


def test_deleting_one_of_two_active_adapters_leaves_the_other():
    model = three_adapters()
    model.set_adapter(["default", "c"])
    model.delete_adapter("default")
    assert model.active_adapters == ["c"]


def test_deleting_every_adapter_leaves_the_base_with_its_own_modules():
    model = three_adapters()
    for name in ("default", "b", "c"):
        model.delete_adapter(name)
    base = tiny_llama()
    assert np.array_equal(model(IDS).numpy(), base(IDS).numpy())
    assert [n for n, _ in model.get_base_model().named_parameters()] == [n for n, _ in base.named_parameters()]
    model.add_adapter("again", LoraConfig(r=2, target_modules=["q_proj"]))
    model.set_adapter("again")
    assert model.loss(IDS, IDS).requires_grad


def test_the_base_called_by_itself_is_the_base_alone():
    model = three_adapters()
    assert np.array_equal(model.get_base_model()(IDS).numpy(), tiny_llama()(IDS).numpy())


def test_a_call_may_name_its_own_adapters():
    model = three_adapters()
    assert np.array_equal(model(IDS, adapters=("b",)).numpy(), alone("b"))


def test_a_call_that_names_what_is_not_there_is_refused():
    with pytest.raises(UnknownNameError, match="no adapter 'x'; loaded: default, b, c"):
        three_adapters()(IDS, adapters=("x",))


def test_a_call_without_a_merged_adapter_is_refused():
    model = three_adapters()
    model.set_adapter(["default", "b"])
    model.merge_adapter(["b"])
    with pytest.raises(ConfigError, match="'b' is merged: unmerge_adapter"):
        model(IDS, adapters=("default",))
    assert model(IDS, adapters=("default", "b")).shape == model(IDS).shape


@pytest.mark.parametrize("name", ["", "a.b", "a/b", "a\\b", "{}"])
def test_a_name_that_cannot_be_part_of_a_path_is_refused(name):
    with pytest.raises(ConfigError, match="cannot be an adapter's name"):
        three_adapters().add_adapter(name, LoraConfig(target_modules=["q_proj"]))


def test_a_name_that_is_taken_is_refused():
    with pytest.raises(ConfigError, match="'b' exists already"):
        three_adapters().add_adapter("b", LoraConfig(target_modules=["q_proj"]))


def test_nothing_is_said_when_nothing_is_merged():
    model = three_adapters()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.set_adapter("b")
        model.delete_adapter("c")
        with model.disable_adapter():
            model(IDS)


# ---- modules_to_save


def with_copies(**sizes):
    model = tiny_llama(**sizes)
    from minilora import get_peft_model

    config = LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj"], modules_to_save=["embed_tokens", "model.norm"])
    return get_peft_model(model, config)


def test_a_module_to_save_starts_as_the_original_and_is_trained_while_the_original_is_not():
    model = with_copies()
    assert np.array_equal(model(IDS).numpy(), tiny_llama()(IDS).numpy())
    model.loss(IDS, IDS).backward()
    saved = model.get_base_model().model.embed_tokens
    assert saved.original_module.weight.grad is None
    assert np.any(saved.modules_to_save["default"].weight.grad != 0)
    assert not np.shares_memory(saved.modules_to_save["default"].weight.data, saved.original_module.weight.data)


def test_a_trained_copy_acts_only_with_its_adapter():
    model = with_copies()
    copy = model.get_base_model().model.norm.modules_to_save["default"].weight
    copy.data = copy.data * 2
    doubled = model(IDS).numpy()
    assert np.any(doubled != tiny_llama()(IDS).numpy())
    with model.disable_adapter():
        assert np.array_equal(model(IDS).numpy(), tiny_llama()(IDS).numpy())
    model.add_adapter("b", LoraConfig(r=2, target_modules=["q_proj"]))
    model.set_adapter("b")
    assert np.array_equal(model(IDS).numpy(), tiny_llama()(IDS).numpy())
    model.set_adapter(["b", "default"])
    assert np.array_equal(model(IDS).numpy(), doubled)


def test_two_active_adapters_with_a_copy_of_one_module_are_refused():
    model = with_copies()
    model.add_adapter("b", LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["norm"]))
    with pytest.raises(ConfigError, match="default, b each have a copy of model.norm"):
        model.set_adapter(["default", "b"])
    assert model.active_adapters == ["default"]


def test_a_copy_of_a_tied_head_leaves_the_embedding_alone():
    from minilora import get_peft_model

    config = LoraConfig(r=3, target_modules=["q_proj"], modules_to_save=["lm_head"])
    model = get_peft_model(tiny_llama(tie_word_embeddings=True), config)
    model.loss(IDS, IDS).backward()
    base = model.get_base_model()
    assert base.lm_head.original_module.weight is base.model.embed_tokens.weight
    assert base.model.embed_tokens.weight.grad is None


def test_merge_and_unload_puts_the_copy_in_place_and_unload_the_original():
    model = with_copies()
    copy = model.get_base_model().model.norm.modules_to_save["default"].weight
    copy.data = copy.data * 2
    expected = model(IDS).numpy()
    assert np.array_equal(model.merge_and_unload()(IDS).numpy(), expected)
    assert np.array_equal(with_copies().unload()(IDS).numpy(), tiny_llama()(IDS).numpy())
