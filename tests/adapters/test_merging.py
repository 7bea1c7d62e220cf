"""When adding, loading or merging an adapter fails, the model is as it was before."""

import numpy as np
import pytest
from tiny import random_ids, tiny_gpt2, tiny_llama, with_lora

from minilora import LoraConfig, PrefixTuningConfig, PromptTuningConfig, VeraConfig, get_peft_model
from minilora.adapters.layer import AdaptedLayer
from minilora.errors import ConfigError, MiniloraError, UnknownNameError

IDS = random_ids()
NO_TOKENIZER = PromptTuningConfig(
    num_virtual_tokens=4, prompt_tuning_init="TEXT", prompt_tuning_init_text="a", tokenizer_name_or_path="/nowhere"
)


def state(model):
    return model.active_adapters, model.merged_adapters, model.get_nb_trainable_parameters(), list(model.peft_config)


@pytest.mark.parametrize("config", [NO_TOKENIZER, LoraConfig(target_modules=["nothing"])], ids=["start", "targets"])
@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.filterwarnings("ignore:add_adapter")
def test_an_adapter_that_cannot_be_added_leaves_nothing_behind(tmp_path, config, merged):
    model = with_lora(tiny_llama())
    if merged:
        model.merge_adapter()
    before, logits = state(model), model(IDS).data
    with pytest.raises(MiniloraError):
        model.add_adapter("t", config)
    assert state(model) == before and (model(IDS).data == logits).all()
    model.save_pretrained(tmp_path)


@pytest.mark.filterwarnings("ignore:load_adapter", "ignore:fan_in_fan_out")
def test_an_adapter_that_cannot_be_loaded_leaves_the_model_merged_as_it_was(tmp_path):
    with_lora(tiny_gpt2(), ("c_attn",)).save_pretrained(tmp_path)
    model = with_lora(tiny_llama())
    model.merge_adapter()
    before, logits = state(model), model(IDS).data
    with pytest.raises(ConfigError):
        model.load_adapter(tmp_path, "x")
    assert state(model) == before and (model(IDS).data == logits).all()


def test_a_base_whose_first_adapter_fails_is_neither_adapted_nor_frozen():
    base = tiny_llama()
    for config in (NO_TOKENIZER, VeraConfig(r=10**13, target_modules=["q_proj"])):
        with pytest.raises((MiniloraError, MemoryError)):
            get_peft_model(base, config)
    assert all(p.requires_grad for p in base.parameters())
    assert not any(isinstance(m, AdaptedLayer) for _, m in base.named_modules())


def test_a_merge_that_is_refused_leaves_the_adapter_active_and_trainable():
    model = get_peft_model(tiny_llama(), PrefixTuningConfig(num_virtual_tokens=3))
    before = state(model)
    with pytest.raises(ConfigError, match="cannot be merged"):
        model.merge_and_unload()
    assert state(model) == before
    model.loss(IDS, IDS).backward()


@pytest.mark.parametrize("name", [5, b"a", ("a",), None, "", " ", "a\nb", "a\0b", "a" * 300, "a.b", "../a"])
def test_what_cannot_name_a_folder_cannot_name_an_adapter(name):
    model = with_lora(tiny_llama())
    with pytest.raises(ConfigError, match="cannot be an adapter's name"):
        model.add_adapter(name, LoraConfig(target_modules=["q_proj"]))


@pytest.mark.parametrize("name", [5, None, b"default", ["default", 5], [["default"]]], ids=str)
def test_what_is_no_name_is_refused_as_an_unknown_adapter(name):
    model = with_lora(tiny_llama())
    before = state(model)
    for act in (model.set_adapter, model.delete_adapter):
        with pytest.raises(UnknownNameError, match="no adapter"):
            act(name)
    assert state(model) == before


def test_virtual_tokens_are_taken_from_the_context():
    model = get_peft_model(tiny_llama(), PrefixTuningConfig(num_virtual_tokens=3))
    assert model.context_length == model.get_base_model().context_length - 3
    with model.disable_adapter():
        assert np.isfinite(model(IDS).data).all()
