"""IA3: scales on outputs and inputs, their gradients, and what merging does to a bias."""

import numpy as np
import pytest
from tiny import random_ids, tiny_llama

from minilora import IA3Config, PeftModel, Tensor, get_peft_model
from minilora.errors import ConfigError
from minilora.gradcheck import gradcheck
from minilora.methods.ia3 import IA3
from minilora.models.context import Context
from minilora.nn import Linear

IDS = random_ids()
OUTPUT, INPUT = IA3Config(target_modules=["layer"]), IA3Config(target_modules=["layer"], feedforward_modules=["layer"])


def adapted(layer, config):
    method = IA3.beside(layer, config)
    method.scale.data = np.random.default_rng(0).uniform(0.5, 1.5, method.scale.shape)
    return method


def output(layer, method, x):
    return method.update(layer(method.input(x, Context())), x, layer, Context())


@pytest.mark.parametrize("config", [OUTPUT, INPUT], ids=["output", "input"])
def test_the_gradients_are_those_of_central_differences(config):
    layer = Linear(4, 6, bias=True).init(0, np.float64)
    layer.bias.data = np.arange(6.0)
    method = adapted(layer, config)

    def f(x, scale):
        method.scale = scale
        return output(layer, method, x)

    rng = np.random.default_rng(1)
    gradcheck(f, [Tensor(rng.standard_normal(s), requires_grad=True) for s in ((2, 3, 4), method.scale.shape)])


def test_outputs_are_scaled_with_their_bias_and_inputs_are_not():
    layer = Linear(4, 6, bias=True).init(0, np.float64)
    layer.bias.data = np.arange(6.0)
    x = Tensor(np.zeros((1, 4)))
    outputs, inputs = adapted(layer, OUTPUT), adapted(layer, INPUT)
    assert np.allclose(output(layer, outputs, x).data, np.arange(6.0) * outputs.scale.data[:, 0])
    assert np.array_equal(output(layer, inputs, x).data[0], np.arange(6.0))


@pytest.mark.parametrize("config", [OUTPUT, INPUT], ids=["output", "input"])
def test_a_merged_layer_with_a_bias_computes_the_same(config):
    """The bias of a layer whose outputs are scaled is scaled too (peft#972)."""
    layer = Linear(4, 6, bias=True).init(0, np.float64)
    layer.bias.data = np.arange(6.0)
    method, x = adapted(layer, config), Tensor(np.random.default_rng(2).standard_normal((3, 4)))
    apart = output(layer, method, x).data
    layer.replace_weight(*method.merged(layer.dense(), layer.bias.data, layer))
    assert np.allclose(layer(x).data, apart, rtol=1e-12)


def test_a_scale_of_zero_is_unmerged_to_the_bit():
    model = get_peft_model(tiny_llama(), IA3Config())
    for p in model.parameters():
        if p.requires_grad:
            p.data = p.data * 0
    before = [layer.base_layer.weight for layer in model.base_model.layers]
    model.merge_adapter()
    model.unmerge_adapter()
    assert all(layer.base_layer.weight is w for layer, w in zip(model.base_model.layers, before, strict=True))


def test_without_targets_they_are_pefts():
    config = get_peft_model(tiny_llama(), IA3Config()).peft_config["default"]
    assert config.target_modules == ["k_proj", "v_proj", "down_proj"] and config.feedforward_modules == ["down_proj"]


def test_a_feedforward_module_that_is_no_target_is_refused():
    with pytest.raises(ConfigError, match="feedforward_modules 'up_proj' is not among target_modules"):
        IA3Config(target_modules=["down_proj"], feedforward_modules=["up_proj"])


def test_a_saved_adapter_is_loaded_to_the_same_bits(tmp_path):
    model = get_peft_model(tiny_llama(), IA3Config(init_ia3_weights=False), seed=3)
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(tiny_llama(), tmp_path)
    assert np.array_equal(again(IDS).data, model(IDS).data)


def test_feedforward_modules_that_are_not_given_are_pefts_also_with_targets_given():
    model = get_peft_model(tiny_llama(), IA3Config(target_modules=["k_proj", "v_proj", "down_proj"]))
    assert model.peft_config["default"].feedforward_modules == ["down_proj"]


@pytest.mark.parametrize("inputs", [["down_proj"], r".*\.down_proj"], ids=["list", "regular expression"])
def test_feedforward_modules_choose_the_layers_whose_input_is_scaled(inputs):
    model = get_peft_model(tiny_llama(), IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=inputs))
    shapes = {n.split(".")[-3]: p.shape for n, p in model.named_parameters() if "ia3_l" in n}
    assert shapes == {"k_proj": (12, 1), "down_proj": (1, 20)}  # (out, 1) scales the output, (1, in) the input
