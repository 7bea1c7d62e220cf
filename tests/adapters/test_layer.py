"""One frozen layer with its adapters: the equation, its gradients, and merging within the bound of rounding."""

import numpy as np
import pytest
from tiny import random_ids, tiny_llama, with_lora

from minilora import LoraConfig, Tensor
from minilora.adapters.layer import AdaptedLayer
from minilora.errors import GraphError
from minilora.methods.lora import EmbeddingLora, Lora
from minilora.models.context import Context
from minilora.models.gpt2 import Conv1D
from minilora.nn import Embedding, Linear, Parameter

ACTIVE = Context(adapters=("a",))


@pytest.mark.parametrize("kind", [Linear, Embedding, Conv1D])
def test_a_merged_layer_equals_the_unmerged_one_within_the_bound_of_float_rounding(kind, rng):
    """|difference| <= 2 γ (|x| |W|ᵀ + s |x| |A|ᵀ |B|ᵀ) with γ = n u / (1 - n u), n = in + r + 3 roundings, u = 2⁻²⁴.

    Either way of computing is a sum of products of at most n roundings each (Higham, Accuracy and Stability, 3.1).
    """
    n_in, out, r, s = 37, 23, 5, 7 / 5
    layer = AdaptedLayer(kind(n_in, out).init(3), "layer")
    method = EmbeddingLora if kind is Embedding else Lora
    config = LoraConfig(r=r, lora_alpha=s * r, init_lora_weights=False)
    adapter = layer.adapters["a"] = method.beside(layer.base_layer, config, seed=3)
    W, A, B = (abs(a.astype(np.float64)) for a in (layer.base_layer.dense(), adapter.A.data, adapter.B.data))
    if kind is Embedding:
        x = np.arange(n_in, dtype=np.int64)
        size, n = W + s * (B @ A).T, r + 3
    else:
        x = Tensor(rng.standard_normal((11, n_in)).astype(np.float32))
        size, n = abs(x.data) @ (W + s * B @ A).T, n_in + r + 3
    before = layer(x, ACTIVE).numpy().astype(np.float64)
    layer.merge(["a"])
    after = layer(x, ACTIVE).numpy().astype(np.float64)
    gamma = n * 2.0**-24 / (1 - n * 2.0**-24)
    assert layer.merged == ["a"] and np.any(layer.base_layer.weight.data != layer.original[0].data)
    assert np.all(abs(after - before) <= 2 * gamma * size)


def test_a_base_without_values_says_so_in_one_line():
    model = with_lora(tiny_llama(), ["q_proj"])
    layer = next(iter(model.base_model.layers))
    layer.base_layer.weight = Parameter(layer.base_layer.shape)
    with pytest.raises(GraphError, match="not filled"):
        model(random_ids())
