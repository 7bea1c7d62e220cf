"""DoRA against the equations, central differences, and what PEFT wrote."""

import numpy as np
import pytest
from checkpoints import GOLDEN, expected, read_npz
from tiny import random_ids, tiny_llama

import minilora as ml
from minilora import LoraConfig, Tensor, get_peft_model
from minilora.adapters.model import PeftModel
from minilora.errors import ConfigError
from minilora.gradcheck import gradcheck
from minilora.methods.dora import Dora, EmbeddingDora, dora_update, row_norms
from minilora.methods.lora import Lora
from minilora.models.context import Context
from minilora.models.gpt2 import Conv1D
from minilora.nn import Embedding, Linear

IDS = random_ids()
LINEAR = read_npz(GOLDEN / "linear_lora_dora_rslora_pissa.npz")


def case(name):
    return LINEAR[f"dora/{name}"].astype(np.float64)


def adapted(layer, r=3, alpha=5, seed=1, method=Dora, **options):
    """A layer with a DoRA adapter of B != 0 and m != n."""
    config = LoraConfig(r=r, lora_alpha=alpha, use_dora=True, init_lora_weights=False, **options)
    method = method.beside(layer, config, seed)
    method.m.data = method.m.data * np.random.default_rng(seed).uniform(0.5, 1.5, method.m.shape)
    return method


def dora_model(model=None, targets=("q_proj", "down_proj"), **options):
    config = LoraConfig(
        r=3, lora_alpha=5, use_dora=True, init_lora_weights=False, target_modules=list(targets), **options
    )
    model = get_peft_model(model or tiny_llama(dtype=np.float64), config, seed=4)
    for name, p in model.named_parameters():
        if "magnitude" in name:
            p.data = (p.data * np.random.default_rng(3).uniform(0.5, 1.5, p.shape)).astype(p.dtype)
    return model


@pytest.fixture(params=[True, False], ids=["bias", "no bias"])
def linear(request):
    return Linear(7, 11, bias=request.param).init(0, np.float64)


# ---- the equation


def test_output_and_gradients_are_those_that_peft_computed():
    x, A, B, m = (Tensor(case(n), requires_grad=True) for n in ("x", "A", "B", "m"))
    W, bias, s = case("W"), case("bias"), float(case("scaling"))
    y = Tensor(x.data @ W.T + bias)
    n = row_norms(W + s * B.data @ A.data)
    out = dora_update(y, x, A, B, m, n, s, bias)
    assert np.allclose(out.data, case("y"), atol=1e-5)
    out.backward(case("gy"))
    for name, tensor in (("dA", A), ("dB", B), ("dm", m)):
        assert np.allclose(tensor.grad, case(name), atol=1e-4), name


def test_the_first_output_is_the_frozen_one(linear):
    method = Dora.beside(linear, LoraConfig(r=3, lora_alpha=5, use_dora=True))
    x = Tensor(np.random.default_rng(0).standard_normal((4, 7)))
    assert np.allclose(method.update(linear(x), x, linear, Context()).data, linear(x).data, rtol=1e-14)


def test_with_b_not_zero_the_first_output_is_that_of_lora(linear):
    """m starts as the norm of W + s B A, not of W (gromo#255)."""
    config = {"r": 3, "lora_alpha": 5, "init_lora_weights": False}
    dora = Dora.beside(linear, LoraConfig(use_dora=True, **config))
    lora = Lora.beside(linear, LoraConfig(**config))
    x = Tensor(np.random.default_rng(0).standard_normal((4, 7)))
    one, other = (m.update(linear(x), x, linear, Context()).data for m in (dora, lora))
    assert np.allclose(one, other, rtol=1e-12)


def test_the_bias_is_not_scaled():
    layer = Linear(7, 11, bias=True).init(0, np.float64)
    layer.bias.data = np.arange(11.0)
    method = adapted(layer)
    x = Tensor(np.zeros((2, 7)))
    assert np.array_equal(method.update(layer(x), x, layer, Context()).data, np.tile(np.arange(11.0), (2, 1)))


def test_the_update_passes_the_gradient_check():
    rng = np.random.default_rng(0)
    n, bias = rng.uniform(0.5, 2, 6), rng.standard_normal(6)
    tensors = [Tensor(rng.standard_normal(s), requires_grad=True) for s in ((2, 3, 6), (2, 3, 4), (3, 4), (6, 3), (6,))]
    gradcheck(lambda y, x, A, B, m: dora_update(y * 1.0, x, A, B, m, n, 0.7, bias), tensors)


def test_gradients_of_a_layer_hold_the_norm_constant(linear):
    """The gradient is that of the function in which n is a number, and differs from that of the whole function."""
    method, rng = adapted(linear), np.random.default_rng(0)
    x, dy = rng.standard_normal((4, 7)), rng.standard_normal((4, 11))
    n = method.norm(linear)
    method.update(linear(Tensor(x)), Tensor(x), linear, Context()).backward(dy)

    def loss(B, norm):
        V = linear.dense() + method.scaling * B @ method.A.data
        norm = row_norms(V) if norm is None else norm
        return ((x @ V.T) * (method.m.data / norm) * dy).sum()

    B, step = method.B.data, np.zeros(method.B.shape)
    step[2, 1] = 1e-6
    held = (loss(B + step, n) - loss(B - step, n)) / 2e-6
    whole = (loss(B + step, None) - loss(B - step, None)) / 2e-6
    assert np.isclose(method.B.grad[2, 1], held, rtol=1e-6)
    assert abs(whole - held) > 1e-3 * abs(held)


def test_dropout_hides_inputs_from_the_adapter_and_not_from_the_frozen_term(linear):
    method = adapted(linear, lora_dropout=0.5)
    x = np.random.default_rng(0).standard_normal((4, 7))
    context = Context(training=True, rng=np.random.default_rng(9))
    out = method.update(linear(Tensor(x)), Tensor(x), linear, context).data
    from minilora import ops

    dropped = ops.dropout(Tensor(x), 0.5, np.random.default_rng(9)).data
    g, W = method.m.data / method.norm(linear), linear.dense()
    expected_output = linear(Tensor(x)).data + dropped @ W.T * (g - 1) + dropped @ method.delta().T * g
    assert np.allclose(out, expected_output, rtol=1e-12)


# ---- merging


@pytest.mark.parametrize("layer", [Linear(6, 6), Linear(5, 9, bias=True), Conv1D(6, 6), Conv1D(5, 9), Embedding(8, 5)])
def test_the_merged_weight_gives_the_same_output(layer):
    layer.init(0, np.float64)
    embedding = isinstance(layer, Embedding)
    method = adapted(layer, method=EmbeddingDora if embedding else Dora)
    x = np.array([[1, 7, 0]]) if embedding else Tensor(np.random.default_rng(0).standard_normal((4, layer.shape[1])))
    apart = method.update(layer(x), x, layer, Context()).data
    weight, _ = method.merged(layer.dense(), None, layer)
    layer.replace_weight(weight)
    assert np.allclose(layer(x).data, apart, rtol=1e-12)


def test_two_adapters_on_one_layer_merge_to_their_forward_and_their_order_matters():
    """Every norm is that of the unmerged base (peft#3608)."""
    model = dora_model()
    second = LoraConfig(r=2, lora_alpha=7, use_dora=True, init_lora_weights=False, target_modules=["q_proj"])
    model.add_adapter("b", second, seed=9)
    for name, p in model.named_parameters():
        if "magnitude_vector.b" in name:
            p.data = p.data * np.random.default_rng(5).uniform(0.5, 1.5, p.shape)
    model.set_adapter(["b", "default"])
    other_order = model(IDS).data
    model.set_adapter(["default", "b"])
    apart = model(IDS).data
    assert not np.allclose(apart, other_order, rtol=1e-6)
    model.merge_adapter()
    assert np.allclose(model(IDS).data, apart, rtol=1e-11)
    model.unmerge_adapter()
    assert np.array_equal(model(IDS).data, apart)
    model.merge_adapter(["default"])
    assert np.allclose(model(IDS).data, apart, rtol=1e-11)


@pytest.mark.parametrize("active", [["default", "bias"], ["bias", "default"]])
def test_merged_with_an_adapter_that_has_a_bias_of_b_it_computes_the_same_in_either_order(active):
    """Behind it DoRA scales what that adapter added to the bias, and not the base's own."""
    model = dora_model(tiny_llama(dtype=np.float64, qkv_bias=True, model_type="qwen2"), ["q_proj"])
    model.add_adapter("bias", LoraConfig(lora_bias=True, init_lora_weights=False, target_modules=["q_proj"]), seed=9)
    model.set_adapter(active)
    apart = model(IDS).data
    model.merge_adapter(active[:1])
    assert np.allclose(model(IDS).data, apart, rtol=1e-11)
    model.merge_adapter()
    assert np.allclose(model(IDS).data, apart, rtol=1e-11)
    model.unmerge_adapter()
    assert np.array_equal(model(IDS).data, apart)


def test_only_the_adapters_that_act_first_can_be_merged_alone():
    model = dora_model()
    model.add_adapter("b", LoraConfig(r=2, use_dora=True, target_modules=["q_proj"]), seed=9)
    model.set_adapter(["default", "b"])
    with pytest.raises(ConfigError, match="act in this order, and not all of them are sums"):
        model.merge_adapter(["b"])


# ---- files and generation


def test_an_adapter_from_peft_gives_pefts_logits_loss_and_gradients():
    golden = expected("qwen2tied_tiny")
    model = PeftModel.from_pretrained(
        ml.load_pretrained(GOLDEN / "qwen2tied_tiny" / "base"), GOLDEN / "qwen2tied_tiny" / "adapter", is_trainable=True
    )
    ids = golden["input_ids"]
    assert abs(model(ids).data - golden["adapter_logits"]).max() <= 1e-4
    loss = model.loss(ids, ids)
    assert abs(loss.item() - float(golden["loss"])) <= 1e-5
    loss.backward()
    gradients = {k.removeprefix("grad/"): golden[k] for k in golden if k.startswith("grad/")}
    assert len(gradients) > 3
    for name, p in model.named_parameters():
        if p.requires_grad:
            name = name + ".weight" if name.endswith("magnitude_vector.default") else name
            assert abs(p.grad - gradients[name]).max() <= 3e-4, name
    merged = model.merge_and_unload()
    assert abs(merged(ids).data - golden["merged_logits"]).max() <= 2e-4


def test_a_saved_adapter_is_loaded_to_the_same_bits(tmp_path):
    model = dora_model(tiny_llama(), ["q_proj", "embed_tokens"])
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(tiny_llama(), tmp_path)
    assert np.array_equal(again(IDS).data, model(IDS).data)


def test_one_generate_computes_each_norm_once(monkeypatch):
    from minilora.methods import dora

    calls = []
    monkeypatch.setattr(dora, "row_norms", lambda V: calls.append(1) or row_norms(V))
    model = dora_model()
    calls.clear()
    tokens = model.generate(IDS[:1], 6)[0]
    assert len(calls) == 4  # two layers, two modules
    whole = model(tokens[None, :-1]).data[0, IDS.shape[1] - 1 :].argmax(-1)
    assert tokens[IDS.shape[1] :].tolist() == whole.tolist()


def test_a_norm_is_never_kept_between_two_forwards():
    model = dora_model()
    first = model(IDS).data
    for name, p in model.named_parameters():
        if "lora_B" in name:
            p.data = p.data * 2
    assert not np.allclose(model(IDS).data, first)


@pytest.mark.parametrize("layer", [Linear(7, 11, bias=True), Embedding(8, 5)])
def test_a_row_of_zeros_stays_zero_and_makes_no_nan(layer):
    layer.init(0, np.float64)
    embedding = isinstance(layer, Embedding)
    row = (slice(None), 3) if embedding else (3,)  # the weights of output 3
    layer.weight.data[row] = 0
    method = (EmbeddingDora if embedding else Dora).beside(layer, LoraConfig(r=3, use_dora=True))
    x = np.array([[1, 7, 0]]) if embedding else Tensor(np.random.default_rng(0).standard_normal((4, 7)))
    y = method.update(layer(x), x, layer, Context())
    y.sum().backward()
    assert np.allclose(y.data, layer(x).data, rtol=1e-12)
    assert all(np.isfinite(p.grad).all() for p in method.parameters.values())
    assert np.isfinite(method.merged(layer.dense(), None, layer)[0]).all()
