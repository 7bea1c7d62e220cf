"""Modules and parameters: names, filling, tying, moving; and that a constructor allocates nothing."""

import time
import tracemalloc

import numpy as np
import pytest
from tiny import empty_llama, random_ids, tiny_llama, with_lora

from minilora.autograd import Tensor
from minilora.errors import ConfigError, FormatError, GraphError, MiniloraError
from minilora.nn import Embedding, LayerNorm, Linear, Module, Parameter, RMSNorm

LLAMA_405B = {
    "vocab_size": 128_256, "hidden_size": 16_384, "intermediate_size": 53_248, "num_hidden_layers": 126,
    "num_attention_heads": 128, "num_key_value_heads": 8,
}  # fmt: skip


# ---- names


def test_a_tied_head_is_one_parameter_with_one_gradient_from_both_uses():
    tied, apart = tiny_llama(tie_word_embeddings=True), tiny_llama()
    assert tied.lm_head.weight is tied.model.embed_tokens.weight
    assert "lm_head.weight" not in dict(tied.named_parameters())
    assert "lm_head.weight" in dict(tied.named_parameters(remove_duplicate=False))
    apart.lm_head.weight.data = tied.lm_head.weight.data.copy()
    for a, b in zip(apart.model.parameters(), tied.model.parameters(), strict=True):
        a.data = b.data.copy()
    for model in (tied, apart):
        model.loss(random_ids(), random_ids()).backward()
    total = apart.lm_head.weight.grad + apart.model.embed_tokens.weight.grad
    np.testing.assert_allclose(tied.lm_head.weight.grad, total, rtol=1e-5, atol=1e-6)


def test_members_are_found_in_lists_and_dicts_and_not_behind_an_underscore():
    module = Module()
    module.items = [Linear(2, 3), 5, Linear(3, 2)]
    module.table = {"a": Linear(2, 2), "n": 4}
    module.own = Parameter((3,))
    module._hidden = Linear(2, 2)
    module.config = object()
    names = [name for name, _ in module.named_parameters()]
    assert names == ["own", "items.0.weight", "items.2.weight", "table.a.weight"]
    assert [path for path, _ in module.named_modules()] == ["", "items.0", "items.2", "table.a"]


def test_a_submodule_is_found_and_replaced_by_its_path():
    model = empty_llama()
    path = "model.layers.1.mlp.up_proj"
    twin = Linear(16, 20)
    assert model.get_submodule(path).shape == (20, 16)
    model.set_submodule(path, twin)
    assert model.get_submodule(path) is twin
    model.set_submodule("lm_head", twin)
    assert model.lm_head is twin


def test_a_wrong_path_is_answered_with_the_nearest():
    with pytest.raises(FormatError, match=r"no module 'lm_haed'.*nearest are lm_head"):
        empty_llama().get_submodule("lm_haed")
    with pytest.raises(FormatError, match="layer of a list"):
        empty_llama().set_submodule("model.layers.0", Linear(1, 1))


# ---- nothing is allocated


def test_a_llama_of_405_billion_parameters_is_built_in_seconds_and_a_few_megabytes():
    tracemalloc.start()
    begin = time.perf_counter()
    model = empty_llama(**LLAMA_405B, head_dim=0)
    parameters = sum(p.size for p in model.parameters())
    seconds, (_, peak) = time.perf_counter() - begin, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert parameters == 405_853_388_800
    assert seconds < 5
    assert peak < 8 * 2**20
    assert not any(p.is_filled for p in model.parameters())


def test_an_adapter_for_405_billion_parameters_is_counted_without_filling_anything():
    begin = time.perf_counter()
    model = with_lora(empty_llama(**LLAMA_405B, head_dim=0), r=16)
    trainable, _ = model.get_nb_trainable_parameters()
    assert trainable == 126 * 16 * ((16_384 + 16_384) + (16_384 + 1_024))
    assert time.perf_counter() - begin < 20


def test_a_weight_that_is_not_filled_is_one_clear_line():
    model = empty_llama()
    with pytest.raises(GraphError, match=r"weight of shape \(29, 16\) is not filled: call init\(seed\)") as error:
        model(random_ids())
    assert isinstance(error.value, MiniloraError)
    assert repr(model.lm_head.weight) == "Parameter(shape=(29, 16), not filled)"
    assert model.device == "cpu"


# ---- filling


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    a, b, c = (empty_llama().init(seed).parameters() for seed in (3, 3, 4))
    assert all(np.array_equal(x.data, y.data) for x, y in zip(a, b, strict=True))
    assert not np.array_equal(a[0].data, c[0].data)


def test_init_fills_float32_with_ones_in_norms_zeros_in_biases_and_small_normals_elsewhere():
    model = empty_llama(attention_bias=True, hidden_size=64, vocab_size=500).init(0)
    for name, p in model.named_parameters():
        assert p.dtype == np.float32
        if "norm" in name:
            assert (p.data == 1).all()
        elif name.endswith("bias"):
            assert (p.data == 0).all()
        else:
            assert 0.015 < p.data.std() < 0.025


def test_a_model_starts_in_evaluation_and_train_and_eval_switch_it():
    model = tiny_llama()
    assert not model.training
    assert model.train().training
    assert not model.eval().training
    assert model.train().new_context().training


def test_init_leaves_what_is_filled():
    model = empty_llama()
    model.lm_head.weight.data = np.full((29, 16), 7, np.float32)
    model.init(0)
    assert (model.lm_head.weight.data == 7).all()


def test_values_of_another_shape_are_refused():
    with pytest.raises(FormatError, match=r"shape \(16, 29\) for a weight of shape \(29, 16\)"):
        empty_llama().lm_head.weight.assign(np.zeros((16, 29)))


def test_weights_of_16_bits_are_refused():
    with pytest.raises(ConfigError, match="expected float32 or float64"):
        empty_llama().init(0, np.float16)


# ---- the modules and what runs through them


def test_a_class_is_called_by_the_forward_or_the_call_that_it_defines():
    class Doubled(Linear):
        def forward(self, x, context=None):
            return super().forward(x, context) * 2.0

    class Logged(Linear):
        def __call__(self, x):
            return "logged", self.forward(x)

    x = Tensor(np.ones((1, 5)))
    plain, doubled, logged = (kind(5, 3).init(1, np.float64) for kind in (Linear, Doubled, Logged))
    assert np.array_equal(doubled(x).data, 2 * plain(x).data)
    assert logged(x)[0] == "logged"


def test_layers_compute_their_equations(rng):
    x = Tensor(rng.standard_normal((2, 5)))
    linear, norm, rms = Linear(5, 3, bias=True).init(1, np.float64), LayerNorm(5).init(1), RMSNorm(5).init(1)
    embedding = Embedding(4, 5).init(1, np.float64)
    linear.bias.data += 0.5
    np.testing.assert_allclose(linear(x).data, x.data @ linear.weight.data.T + 0.5, rtol=1e-12)
    mean, std = x.data.mean(-1, keepdims=True), np.sqrt(x.data.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(norm(x).data, (x.data - mean) / std, rtol=1e-12)
    np.testing.assert_allclose(rms(x).data, x.data / np.sqrt((x.data**2).mean(-1, keepdims=True) + 1e-6), rtol=1e-12)
    assert np.array_equal(embedding(np.array([[3, 1]])).data, embedding.weight.data[[[3, 1]]])


@pytest.mark.parametrize("layer", [Linear(5, 3), Embedding(3, 5)], ids=["linear", "embedding"])
def test_a_replaced_weight_comes_back_bit_for_bit(layer):
    layer.init(0)
    layer.weight.requires_grad = False
    original = layer.weight
    before = layer.replace_weight(layer.dense() + 1)
    assert before[0] is original
    assert not layer.weight.requires_grad
    assert np.array_equal(layer.weight.data, original.data + 1)
    layer.restore_weight(before)
    assert layer.weight is original


def test_to_moves_gradients_too_and_refuses_an_unknown_device():
    model = tiny_llama()
    model.loss(random_ids(), random_ids()).backward()
    assert model.to("cpu") is model
    assert model.lm_head.weight.grad is not None
    assert tiny_llama().to("cpu").lm_head.weight.grad is None
    with pytest.raises(MiniloraError, match="unknown device 'tpu'"):
        model.to("tpu")
