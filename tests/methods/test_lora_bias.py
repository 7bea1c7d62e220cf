"""LoRA with a bias of B: the equation, its gradients, merging, files, and what is refused."""

import numpy as np
import pytest
from tiny import random_ids, tiny_gpt2, tiny_llama

from minilora import LoraConfig, Tensor, get_peft_model
from minilora.adapters.inspect import read_adapter
from minilora.adapters.model import PeftModel
from minilora.errors import ConfigError
from minilora.gradcheck import gradcheck
from minilora.methods.lora_bias import LoraWithBias, add_scaled_bias
from minilora.models.context import Context
from minilora.models.gpt2 import Conv1D
from minilora.nn import Linear

IDS = random_ids()


def config(**options):
    return LoraConfig(**{"r": 3, "lora_alpha": 5, "lora_bias": True, "init_lora_weights": False} | options)


@pytest.mark.parametrize("layer", [Linear(7, 11, bias=True), Linear(6, 6), Conv1D(7, 11)])
def test_the_output_is_that_of_the_equation(layer):
    layer.init(0, np.float64)
    method = LoraWithBias.beside(layer, config())
    x = np.random.default_rng(0).standard_normal((4, layer.shape[1]))
    A, B, c = (p.data for p in method.parameters.values())
    expected = layer(Tensor(x)).data + 5 / 3 * (x @ A.T @ B.T + c)
    assert c.any() and np.allclose(
        method.update(layer(Tensor(x)), Tensor(x), layer, Context()).data, expected, rtol=1e-13
    )


def test_the_bias_passes_the_gradient_check():
    rng = np.random.default_rng(0)
    tensors = [Tensor(rng.standard_normal(s), requires_grad=True) for s in ((2, 3, 5), (5,))]
    gradcheck(lambda y, c: add_scaled_bias(y * 1.0, c, 0.7), tensors)


def test_a_new_adapter_changes_nothing_and_its_bias_is_zero():
    options = {"init_lora_weights": True, "target_modules": ["c_attn"], "fan_in_fan_out": True}
    model, plain = get_peft_model(tiny_gpt2(), config(**options)), tiny_gpt2()
    biases = [p.data for n, p in model.named_parameters() if n.endswith("lora_B.default.bias")]
    assert biases and not any(b.any() for b in biases)
    assert np.array_equal(model(IDS).data, plain(IDS).data)


def test_merged_the_bias_goes_into_the_bases_and_unmerged_every_bit_is_back():
    model = get_peft_model(tiny_gpt2(), config(target_modules=["c_attn", "c_proj"], fan_in_fan_out=True))
    before, bits = model(IDS).data, {n: p.data.copy() for n, p in model.get_base_model().named_parameters()}
    model.merge_adapter()
    assert np.allclose(model(IDS).data, before, rtol=1e-4, atol=1e-3)
    model.unmerge_adapter()
    assert all(np.array_equal(p.data, bits[n]) for n, p in model.get_base_model().named_parameters())


def test_a_base_without_a_bias_cannot_take_it_and_stays_as_it_was():
    with pytest.warns(UserWarning, match="q_proj has no bias.*cannot be merged"):
        model = get_peft_model(tiny_llama(), config(target_modules=["q_proj"]))
    before = model(IDS).data
    with pytest.raises(
        ConfigError, match=r"cannot be merged into model\.layers\.0\.self_attn\.q_proj, which has no bias"
    ):
        model.merge_adapter()
    assert model.merged_adapters == [] and np.array_equal(model(IDS).data, before)


def test_the_file_and_its_inspection_have_the_bias(tmp_path):
    model = get_peft_model(tiny_gpt2(), config(target_modules=["c_attn"], fan_in_fan_out=True))
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(tiny_gpt2(), tmp_path)
    assert np.array_equal(again(IDS).data, model(IDS).data)
    found = read_adapter(tmp_path)
    assert found.parameters == model.get_nb_trainable_parameters()[0]
    assert [name for name in found.vectors if name.endswith("c_attn.lora_B.bias")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_dora": True, "init_lora_weights": True}, "lora_bias with use_dora"),
        ({"init_lora_weights": "pissa"}, "lora_bias with init_lora_weights 'pissa'"),
        ({"init_lora_weights": "gaussian"}, "lora_bias with init_lora_weights 'gaussian'"),
    ],
)
def test_what_peft_refuses_beside_it_is_refused_here(options, message):
    with pytest.raises(ConfigError, match=message):
        config(**options)


def test_an_embedding_is_refused_by_name_as_in_peft():
    with pytest.raises(ConfigError, match="lora_bias adapts linear layers"):
        get_peft_model(tiny_llama(), config(target_modules=["embed_tokens"]))
