"""A config put into a model: which of its choices are written out, what is refused, what stays as it was."""

import warnings

import numpy as np
import pytest
from tiny import adapted_paths, tiny_gpt2, tiny_llama

from minilora import (
    AdaLoraConfig,
    LoraConfig,
    PrefixTuningConfig,
    PromptTuningConfig,
    Tensor,
    VeraConfig,
    get_peft_model,
)
from minilora.errors import ConfigError

Q = ["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"]


def test_all_linear_is_kept_written_out():
    model = get_peft_model(tiny_llama(), LoraConfig(r=2, target_modules="all-linear"))
    names = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    assert model.peft_config["default"].target_modules == names


def test_a_config_that_is_written_out_is_another_object_than_the_callers():
    config = LoraConfig(r=2, target_modules="all-linear", exclude_modules=Q[:1])
    model = get_peft_model(tiny_llama(), config)
    assert config.target_modules == "all-linear" != model.peft_config["default"].target_modules
    assert Q[0] not in [layer.path for layer in model.base_model.layers]


def test_modules_to_save_are_not_adapted_too():
    assert adapted_paths(target_modules=["q_proj", "lm_head"], modules_to_save=["lm_head"]) == Q


def test_an_embedding_and_the_head_can_be_targets():
    assert adapted_paths(target_modules=["embed_tokens", "lm_head"]) == ["model.embed_tokens", "lm_head"]


def test_without_targets_the_ones_that_peft_takes_for_the_model_are_adapted():
    assert {path.rpartition(".")[2] for path in adapted_paths()} == {"q_proj", "v_proj"}
    assert {path.rpartition(".")[2] for path in adapted_paths(tiny_gpt2(), fan_in_fan_out=True)} == {"c_attn"}


def test_a_rank_above_the_smaller_side_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"rank 13 is above the smaller side of .*0.*k_proj \(12, 16\) and of 1 more"):
        get_peft_model(tiny_llama(), LoraConfig(r=13, target_modules=["q_proj", "k_proj"]))
    with pytest.raises(ConfigError, match=r"k_proj \(12, 16\): 12 already gives every update"):
        get_peft_model(tiny_llama(num_hidden_layers=1), LoraConfig(r=13, target_modules=["k_proj"]))
    get_peft_model(tiny_llama(), LoraConfig(r=12, target_modules=["k_proj"]))


def test_a_refused_adapter_leaves_the_model_as_it_was():
    model = tiny_llama()
    before = [(n, p.requires_grad) for n, p in model.named_parameters()]
    for options, line in (
        ({"r": 13}, "rank 13 is above the smaller side"),
        ({"modules_to_save": ["nrm"]}, "no module matches modules_to_save 'nrm'"),
        ({"modules_to_save": ["mlp"]}, "mlp holds other modules"),
    ):
        with pytest.raises(ConfigError, match=line):
            get_peft_model(model, LoraConfig(**{"target_modules": ["k_proj"], **options}))
    assert [(n, p.requires_grad) for n, p in model.named_parameters()] == before


def test_modules_to_save_names_every_path_that_ends_so_as_in_peft():
    model = get_peft_model(tiny_llama(), LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["norm"]))
    copies = {n for n, _ in model.named_parameters() if ".modules_to_save." in n}
    assert len(copies) == 5 and all("norm" in n for n in copies)


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["nrm"], "no module matches modules_to_save 'nrm'; the model has: norm"),
        (["mlp"], r"model.layers.0.mlp holds other modules \(gate_proj, ...\); name those instead"),
        (["q_proj"], "all 2 modules that match target_modules .* are left out again"),
    ],
)
def test_modules_to_save_that_cannot_be_are_refused(names, line):
    with pytest.raises(ConfigError, match=line):
        adapted_paths(target_modules=["q_proj"], modules_to_save=names)


def test_a_module_that_another_adapter_has_adapted_cannot_be_saved():
    model = get_peft_model(tiny_llama(), LoraConfig(r=2, target_modules=["lm_head"]))
    with pytest.raises(ConfigError, match="lm_head cannot be both"):
        model.add_adapter("b", LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"]))
    assert list(model.peft_config) == ["default"]


@pytest.mark.parametrize(("model", "given", "right"), [(tiny_gpt2, False, True), (tiny_llama, True, False)])
def test_fan_in_fan_out_is_set_right_with_one_warning(model, given, right):
    targets = "all-linear"
    with pytest.warns(UserWarning, match=f"fan_in_fan_out set to {right} to match") as said:
        wrapped = get_peft_model(model(), LoraConfig(r=2, target_modules=targets, fan_in_fan_out=given))
    assert len(said) == 1 and wrapped.peft_config["default"].fan_in_fan_out is right
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        get_peft_model(model(), LoraConfig(r=2, target_modules=targets, fan_in_fan_out=right))


def test_an_adapted_gpt2_learns_what_its_dense_form_says():
    config = LoraConfig(r=3, lora_alpha=5, target_modules=["c_fc"], fan_in_fan_out=True, init_lora_weights=False)
    model = get_peft_model(tiny_gpt2(), config)
    layer = model.get_base_model().transformer.h[0].mlp.c_fc
    assert layer.shape == (20, 12) == layer.adapters["default"].delta().shape
    x = np.random.default_rng(0).standard_normal((3, 12)).astype(np.float32)
    W = layer.base_layer.dense() + layer.adapters["default"].delta()
    expected = x @ W.T + layer.base_layer.bias.data
    assert np.allclose(layer(Tensor(x), model.new_context()).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (VeraConfig(r=10**12), "r"),
        (AdaLoraConfig(init_r=10**12, target_r=8), "init_r"),
        (PromptTuningConfig(num_virtual_tokens=10**12), "num_virtual_tokens"),
        (PrefixTuningConfig(num_virtual_tokens=10**20), "num_virtual_tokens"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_adapter_that_does_not_fit_into_memory_names_the_setting_and_leaves_the_model(config, field):
    model = tiny_llama()
    before = [name for name, _ in model.named_parameters()]
    with pytest.raises(ConfigError, match=rf"^{field} = 10+: the adapter has [\d,]+ parameters, which do not fit into"):
        get_peft_model(model, config)
    assert [name for name, _ in model.named_parameters()] == before
