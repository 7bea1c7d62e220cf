"""Every method on a frozen layer that has no `weight`, as one that is stored in 4 bits: forward, backward, merging."""

import dataclasses

import numpy as np
import pytest
from tiny import random_ids, tiny_llama

from minilora import get_peft_model, ops
from minilora.adapters.registry import NAMES, config_named
from minilora.autograd import Tensor
from minilora.nn import Module, replacement

IDS = random_ids()


class Stored(Module):
    """A linear layer that keeps its weight in another way: as half of it, in no Parameter."""

    kind = "linear"

    def __init__(self, linear):
        self._half, self.bias = linear.dense() / 2, linear.bias
        self.shape = linear.shape

    def forward(self, x, context=None):
        return ops.linear(x, Tensor(self.dense()), self.bias)

    def dense(self):
        return self._half * 2

    def replace_weight(self, weight, bias=None):
        before = self._half, self.bias
        self._half, self.bias = weight / 2, self.bias if bias is None else replacement(self.bias, bias)
        return before

    def restore_weight(self, before):
        self._half, self.bias = before


ON_LAYERS = {
    "lora": {}, "dora": {}, "pissa": {}, "pissa_niter": {"init_lora_weights": "pissa_niter_4"}, "olora": {},
    "adalora": {"init_r": 3, "target_r": 2, "total_step": 9}, "vera": {}, "ia3": {"feedforward_modules": ["down_proj"]},
    "lora_bias": {"lora_bias": True}, "tokens": {"trainable_token_indices": [1, 5]},
}  # fmt: skip


def adapted_model(method, stored):
    """A model with an adapter of B != 0 on q_proj and down_proj, which are Linear or Stored."""
    model = tiny_llama(dtype=np.float64, qkv_bias=True, model_type="qwen2")
    for path, module in list(model.named_modules()) if stored else ():
        if path.endswith(("q_proj", "down_proj")):
            model.set_submodule(path, Stored(module))
    named = method if method in NAMES else "lora" if "pissa" not in method else "pissa"
    settings = {"r": 3, "target_modules": ["q_proj"] if method == "lora_bias" else ["q_proj", "down_proj"]}
    config = config_named(named, **settings | ON_LAYERS[method])
    if "init_lora_weights" in ON_LAYERS[method]:
        config = dataclasses.replace(config, **ON_LAYERS[method])
    wrapped = get_peft_model(model, config, seed=2)
    rng = np.random.default_rng(4)
    for p in wrapped.parameters():
        if p.requires_grad:
            p.data = p.data + 0.3 * rng.standard_normal(p.shape)
    return wrapped


@pytest.mark.parametrize("method", ON_LAYERS)
def test_a_method_works_on_a_base_without_a_weight_attribute(method):
    plain, stored = (adapted_model(method, kind) for kind in (False, True))
    gradients = []
    for model in (plain, stored):
        model.loss(IDS, IDS).backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
    assert np.allclose(plain(IDS).data, stored(IDS).data, rtol=1e-9)
    assert gradients[0].keys() == gradients[1].keys()
    assert all(np.allclose(g, gradients[1][n], rtol=1e-7, atol=1e-10) for n, g in gradients[0].items())


@pytest.mark.parametrize("method", ON_LAYERS)
def test_a_method_merges_into_a_base_without_a_weight_attribute_and_out_again(method):
    model = adapted_model(method, True)
    before = model(IDS).data
    model.merge_adapter()
    layers = [m for _, m in model.named_modules() if isinstance(m, Stored)]
    assert np.allclose(model(IDS).data, before, rtol=1e-8) and layers
    model.unmerge_adapter()
    assert np.array_equal(model(IDS).data, before)
    assert np.allclose(model.merge_and_unload()(IDS).data, before, rtol=1e-8)
