"""What LoRA promises: it starts as the base, only the adapter learns, and its gradients are those of the equation."""

import math
from dataclasses import fields

import numpy as np
import pytest
from engine_cases import assert_close
from tiny import random_ids, tiny_llama, with_lora

from minilora import LoraConfig, PeftModel, Tensor, get_peft_model, gradcheck, no_grad, ops
from minilora.adapters.layer import AdaptedLayer
from minilora.errors import ConfigError
from minilora.methods.lora import EmbeddingLora, Lora, low_rank_update, scaling
from minilora.models.context import Context
from minilora.nn import Embedding, Linear

IDS = random_ids()
EVERYWHERE = ["q_proj", "v_proj", "down_proj", "embed_tokens", "lm_head"]


def fresh(targets, **options):
    return get_peft_model(tiny_llama(), LoraConfig(r=3, lora_alpha=5, target_modules=targets, **options), seed=1)


def trainable(model):
    found = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert found
    return found


def one_step(model, rate=0.5):
    model.loss(IDS, IDS).backward()
    for p in model.parameters():
        if p.grad is not None:
            p.data = p.data - np.float32(rate) * p.grad
            p.grad = None


@pytest.mark.parametrize("init", [True, "gaussian"])
def test_before_the_first_step_the_adapted_model_equals_the_base_exactly(init):
    before = tiny_llama()(IDS).numpy()
    assert np.array_equal(fresh(EVERYWHERE, init_lora_weights=init)(IDS).numpy(), before)


def test_random_b_makes_the_adapted_model_differ_from_the_start():
    before = tiny_llama()(IDS).numpy()
    assert abs(fresh(EVERYWHERE, init_lora_weights=False)(IDS).numpy() - before).max() > 1e-2


def test_the_first_step_gives_a_of_linear_layers_a_gradient_of_zero_and_b_another():
    model = fresh(["q_proj", "down_proj", "lm_head"])
    model.loss(IDS, IDS).backward()
    for name, p in trainable(model).items():
        assert np.any(p.grad != 0) == (".lora_B." in name), name


def test_the_first_step_gives_b_of_an_embedding_a_gradient_of_zero_and_a_another():
    model = fresh(["embed_tokens"])
    model.loss(IDS, IDS).backward()
    for name, p in trainable(model).items():
        assert np.any(p.grad != 0) == (".lora_embedding_A." in name), name


def test_training_leaves_every_frozen_array_bit_identical():
    model = fresh(EVERYWHERE).train()
    frozen = {n: (p.data, p.data.copy()) for n, p in model.named_parameters() if not p.requires_grad}
    assert frozen
    moving = {n: p.data.copy() for n, p in trainable(model).items()}
    for _ in range(3):
        one_step(model)
    for name, p in model.named_parameters():
        if name in frozen:
            assert p.data is frozen[name][0] and np.array_equal(p.data, frozen[name][1]), name
        else:
            assert np.any(p.data != moving[name]), name


def test_everything_but_the_adapters_is_frozen_norms_and_embeddings_too():
    model = fresh(["q_proj"])
    assert all(".lora_" in name for name in trainable(model)) and len(trainable(model)) == 4
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert any("layernorm" in n for n in frozen) and any("embed_tokens" in n for n in frozen)


def test_frozen_parameters_get_no_gradient():
    model = fresh(EVERYWHERE)
    model.loss(IDS, IDS).backward()
    assert {n for n, p in model.named_parameters() if p.grad is not None} == trainable(model).keys()


def test_gradients_of_an_adapted_layer_are_those_of_the_equations(rng):
    n_in, out, r, s = 7, 11, 3, 5 / 3
    x, g = rng.standard_normal((4, n_in)), rng.standard_normal((4, out))
    base = Linear(n_in, out).init(0, np.float64)
    base.weight.requires_grad = False
    layer = AdaptedLayer(base, "layer")
    layer.adapters["a"] = Lora.beside(base, LoraConfig(r=r, lora_alpha=s * r, init_lora_weights=False), seed=1)
    W, A, B = base.weight.data, layer.adapters["a"].A, layer.adapters["a"].B

    leaf = Tensor(x, requires_grad=True)
    y = layer(leaf, Context(adapters=("a",)))
    y.backward(g)
    assert np.allclose(y.numpy(), x @ W.T + s * (x @ A.data.T) @ B.data.T, rtol=1e-12)
    assert np.allclose(B.grad, s * g.T @ (x @ A.data.T), rtol=1e-12)
    assert np.allclose(A.grad, s * (g @ B.data).T @ x, rtol=1e-12)
    assert np.allclose(leaf.grad, g @ W + s * (g @ B.data) @ A.data, rtol=1e-12)
    assert base.weight.grad is None


@pytest.mark.parametrize("lead", [(5,), (2, 3), (0,), (1, 1)])
def test_the_low_rank_update_passes_the_gradient_check(rng, lead):
    y, x, A, B = (
        Tensor(rng.standard_normal(shape), requires_grad=True) for shape in (lead + (6,), lead + (4,), (3, 4), (6, 3))
    )
    gradcheck(lambda y, x, A, B: low_rank_update(y * 1.0, x, A, B, 0.7), [y, x, A, B])


def test_the_embedding_adapter_passes_the_gradient_check(rng):
    base = Embedding(9, 5).init(0, np.float64)
    layer = AdaptedLayer(base, "embedding")
    config = LoraConfig(r=2, lora_alpha=3, init_lora_weights=False)
    layer.adapters["a"] = EmbeddingLora.beside(base, config, seed=1)
    adapter, ids = layer.adapters["a"], np.array([[1, 1, 8], [0, 2, 1]])

    def update(E, A, B):
        base.weight.data, adapter.A.data, adapter.B.data = E.data, A.data, B.data
        base.weight, adapter.A, adapter.B = E, A, B
        return layer(ids, Context(adapters=("a",)))

    values = [base.weight.data, adapter.A.data, adapter.B.data]
    gradcheck(update, [Tensor(v.copy(), requires_grad=True) for v in values])


def test_a_model_with_an_adapter_computes_in_float64_when_the_base_is_float64():
    model = with_lora(tiny_llama(dtype=np.float64))
    loss = model.loss(IDS, IDS)
    loss.backward()
    assert loss.dtype == np.float64
    assert all(p.grad.dtype == np.float64 for p in trainable(model).values())


def test_a_float32_model_stays_float32_in_forward_and_backward():
    model = with_lora(tiny_llama(), EVERYWHERE)
    loss = model.loss(IDS, IDS)
    loss.backward()
    assert model(IDS).dtype == np.float32
    assert all(p.grad.dtype == np.float32 for p in trainable(model).values())


def test_dropout_acts_in_training_only():
    model = with_lora(tiny_llama(), dropout=0.5)
    quiet = model(IDS).numpy()
    assert np.array_equal(model(IDS).numpy(), quiet)
    assert np.any(model.train()(IDS, rng=np.random.default_rng(0)).numpy() != quiet)
    assert np.array_equal(model.eval()(IDS).numpy(), quiet)


def test_dropout_acts_on_the_adapter_branch_only():
    model = with_lora(tiny_llama(), EVERYWHERE, dropout=0.9).train()
    for name, p in trainable(model).items():
        if "lora_B" in name or "embedding_A" in name:
            p.data = np.zeros_like(p.data)  # the branch adds nothing, whatever is dropped
    assert np.array_equal(model(IDS, rng=np.random.default_rng(0)).numpy(), tiny_llama()(IDS).numpy())


def test_the_same_generator_drops_the_same_inputs():
    model = with_lora(tiny_llama(), dropout=0.5).train()
    one, two = (model(IDS, rng=np.random.default_rng(7)).numpy() for _ in range(2))
    assert np.array_equal(one, two)


def test_the_same_seed_gives_the_same_adapter_and_another_seed_another():
    def values(seed):
        model = get_peft_model(tiny_llama(), LoraConfig(r=3, target_modules=["q_proj"]), seed=seed)
        return next(p.data for n, p in model.named_parameters() if "lora_A" in n)

    assert np.array_equal(values(3), values(3))
    assert np.any(values(3) != values(4))


def test_a_starts_uniform_within_one_over_the_root_of_its_inputs():
    model = tiny_llama(hidden_size=96, intermediate_size=20)
    model = get_peft_model(model, LoraConfig(r=12, target_modules=["gate_proj"]))
    A = np.concatenate([p.data.ravel() for n, p in model.named_parameters() if "lora_A" in n])
    bound = 1 / np.sqrt(96)
    assert 0.99 * bound < abs(A).max() <= bound
    assert abs(A.std() - bound / np.sqrt(3)) < 0.05 * bound


def test_a_starts_normal_with_standard_deviation_one_over_r_when_gaussian():
    model = tiny_llama(hidden_size=96, intermediate_size=20)
    model = get_peft_model(model, LoraConfig(r=12, target_modules=["gate_proj"], init_lora_weights="gaussian"))
    A = np.concatenate([p.data.ravel() for n, p in model.named_parameters() if "lora_A" in n])
    assert abs(A.std() - 1 / 12) < 0.1 / 12


@pytest.mark.parametrize("init", [True, "gaussian", False])
def test_b_of_an_embedding_starts_normal_with_standard_deviation_one(init):
    model = tiny_llama(vocab_size=40, hidden_size=300)
    config = LoraConfig(r=12, lora_alpha=5, target_modules=["embed_tokens"], init_lora_weights=init)
    (B,) = (p.data for n, p in get_peft_model(model, config, seed=1).named_parameters() if "lora_embedding_B" in n)
    assert B.shape == (300, 12)
    assert abs(B.mean()) < 0.1 and abs(B.std() - 1) < 0.05
    assert 2.5 < abs(B).max() < 6  # a uniform B of this deviation ends at 1.73


def test_a_of_an_embedding_starts_normal_with_standard_deviation_one_when_b_of_the_others_is_random():
    model = tiny_llama(vocab_size=400, hidden_size=30)
    config = LoraConfig(r=12, lora_alpha=5, target_modules=["embed_tokens"], init_lora_weights=False)
    (A,) = (p.data for n, p in get_peft_model(model, config, seed=1).named_parameters() if "lora_embedding_A" in n)
    assert A.shape == (12, 400)
    assert abs(A.mean()) < 0.1 and abs(A.std() - 1) < 0.05


def test_b_of_a_linear_layer_starts_uniform_within_one_over_the_root_of_its_rank_when_asked_to_be_random():
    model = tiny_llama(hidden_size=96, intermediate_size=200)
    config = LoraConfig(r=12, lora_alpha=5, target_modules=["gate_proj"], init_lora_weights=False)
    model = get_peft_model(model, config, seed=1)
    B = np.concatenate([p.data.ravel() for n, p in model.named_parameters() if "lora_B" in n])
    bound = 1 / np.sqrt(12)
    assert 0.99 * bound < abs(B).max() <= bound
    assert abs(B.std() - bound / np.sqrt(3)) < 0.05 * bound


PEFTS_DEFAULTS = {  # of LoraConfig in PEFT 0.21
    "r": 8,
    "lora_alpha": 8,
    "lora_dropout": 0.0,
    "use_rslora": False,
    "init_lora_weights": True,
    "use_dora": False,
    "lora_bias": False,
    "trainable_token_indices": None,
    "bias": "none",
    "fan_in_fan_out": False,
    "rank_pattern": {},
    "alpha_pattern": {},
    "target_modules": None,
    "exclude_modules": None,
    "layers_to_transform": None,
    "layers_pattern": None,
    "modules_to_save": None,
    "task_type": None,
    "base_model_name_or_path": None,
}


@pytest.mark.parametrize("name", PEFTS_DEFAULTS)
def test_a_field_that_is_left_out_has_pefts_default(name):
    value, default = getattr(LoraConfig(), name), PEFTS_DEFAULTS[name]
    assert (value, type(value)) == (default, type(default))


def test_the_list_of_defaults_has_every_field():
    assert PEFTS_DEFAULTS.keys() >= {field.name for field in fields(LoraConfig)}


def test_named_parameters_are_pefts():
    names = {n for n, _ in fresh(["q_proj", "embed_tokens"], modules_to_save=["lm_head"]).named_parameters()}
    root = "base_model.model."
    assert {
        root + "model.layers.0.self_attn.q_proj.base_layer.weight",
        root + "model.layers.0.self_attn.q_proj.lora_A.default.weight",
        root + "model.layers.1.self_attn.q_proj.lora_B.default.weight",
        root + "model.embed_tokens.lora_embedding_A.default",
        root + "model.embed_tokens.base_layer.weight",
        root + "lm_head.original_module.weight",
        root + "lm_head.modules_to_save.default.weight",
        root + "model.layers.0.input_layernorm.weight",
    } <= names


def test_trainable_parameters_are_printed_in_pefts_words(capsys):
    model = fresh(["q_proj"])  # 2 layers, r 3, 16 -> 24
    trainable, total = model.get_nb_trainable_parameters()
    assert trainable == 2 * 3 * (16 + 24)
    assert total == trainable + sum(p.size for p in tiny_llama().parameters())
    model.print_trainable_parameters()
    share = 100 * trainable / total
    line = f"trainable params: {trainable:,d} || all params: {total:,d} || trainable%: {share:.4f}\n"
    assert capsys.readouterr().out == line


def test_a_model_without_weights_can_be_adapted_and_counted():
    from minilora.models.llama import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig(32000, 4096, 11008, 32, 32))
    model = get_peft_model(model, LoraConfig(r=16, target_modules="all-linear", modules_to_save=["norm"]))
    norms = 65 * 4096  # modules_to_save takes every module whose path ends so, as PEFT does: input_layernorm too
    assert model.get_nb_trainable_parameters() == (39_976_960 + norms, 6_738_415_616 + 39_976_960 + norms)
    assert not any(p.is_filled for p in model.parameters())


def test_a_model_adapted_without_weights_can_be_filled_later():
    from minilora.models.llama import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(29, 16, 20, 2, 4)
    plain = LlamaForCausalLM(config).init(5)
    model = LlamaForCausalLM(config)
    model = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"])).init(5)
    head = model.get_base_model().lm_head
    assert np.array_equal(head.modules_to_save["default"].weight.data, head.original_module.weight.data)
    assert model(IDS).shape == plain(IDS).shape


def test_generate_loss_and_forward_use_the_active_adapter():
    base, model = tiny_llama(), with_lora(tiny_llama(), EVERYWHERE)
    assert np.any(model(IDS).numpy() != base(IDS).numpy())
    assert model.loss(IDS, IDS).item() != base.loss(IDS, IDS).item()
    greedy = model.generate(IDS[:1], max_new_tokens=5)[0]
    tokens = IDS[:1]
    with no_grad():
        for _ in range(5):
            tokens = np.concatenate([tokens, model(tokens).numpy()[:, -1:].argmax(-1)], axis=1)
    assert greedy.tolist() == tokens[0].tolist()
    assert greedy.tolist() != base.generate(IDS[:1], max_new_tokens=5)[0].tolist()


def test_training_mode_is_the_peft_models_own_and_a_loaded_model_stays_in_eval():
    model = fresh(["q_proj"])
    assert not model.training and model.train().training and not model.eval().training
    assert model.new_context().adapters == ("default",)


def test_a_model_with_adapters_cannot_be_wrapped_again():
    model = fresh(["q_proj"])
    with pytest.raises(ConfigError, match="add_adapter"):
        get_peft_model(model, LoraConfig(target_modules=["q_proj"]))
    with pytest.raises(ConfigError, match="add_adapter"):
        PeftModel(model.get_base_model())


def test_the_low_rank_update_is_the_product_with_the_weight_and_its_update(rng):
    x, W, A, B = (rng.standard_normal(s) for s in [(3, 4), (5, 4), (2, 4), (5, 2)])
    y = low_rank_update(ops.linear(Tensor(x), Tensor(W)), Tensor(x), Tensor(A), Tensor(B), 0.7)
    assert_close(y, x @ (W + 0.7 * B @ A).T)


def test_low_rank_update_adds_into_y_and_writes_nowhere_else():
    rng = np.random.default_rng(0)
    x, A, B = (Tensor(rng.standard_normal(s), requires_grad=True) for s in [(4, 5), (3, 5), (7, 3)])
    y = Tensor(rng.standard_normal((4, 7)))
    before = [t.data.copy() for t in (x, A, B)]
    expected = y.data + 0.7 * (x.data @ A.data.T) @ B.data.T
    result = low_rank_update(y, x, A, B, 0.7)
    np.testing.assert_allclose(result.data, expected, rtol=1e-14)
    assert all(np.array_equal(t.data, b) for t, b in zip((x, A, B), before, strict=True))


def test_low_rank_update_is_right_for_a_y_that_is_not_contiguous():
    rng = np.random.default_rng(0)
    x, A, B = (Tensor(rng.standard_normal(s)) for s in [(2, 4, 5), (3, 5), (7, 3)])
    y = rng.standard_normal((2, 7, 4)).transpose(0, 2, 1)
    expected = y + 0.7 * (x.data @ A.data.T) @ B.data.T
    np.testing.assert_allclose(low_rank_update(Tensor(y), x, A, B, 0.7).data, expected, rtol=1e-14)


def test_the_scale_is_alpha_over_r_and_alpha_over_root_r_when_rank_stabilised():
    assert scaling(5, 3) == 5 / 3
    assert scaling(5, 3, use_rslora=True) == 5 / math.sqrt(3)


def test_rank_and_alpha_follow_their_patterns_and_the_first_match_wins():
    config = LoraConfig(
        r=2,
        lora_alpha=5,
        target_modules=["q_proj", "v_proj"],
        rank_pattern={"layers.0.self_attn.q_proj": 4, "q_proj": 3, r"^model.layers.1.self_attn.v_proj": 1},
        alpha_pattern={r".*\.1\..*": 7},
    )
    model = get_peft_model(tiny_llama(), config)
    found = {layer.path: layer.adapters["default"] for layer in model.base_model.layers}
    ranks = {p: (a.r, a.A.shape[0], a.B.shape[1]) for p, a in found.items()}
    assert [ranks[p] for p in sorted(ranks)] == [(4,) * 3, (2,) * 3, (3,) * 3, (1,) * 3]
    assert [found[p].scaling for p in sorted(found)] == [5 / 4, 5 / 2, 7 / 3, 7 / 1]


def test_the_scale_of_a_layer_follows_use_rslora():
    config = LoraConfig(r=4, lora_alpha=6, use_rslora=True, rank_pattern={"x": 9})
    assert config.scaling("a.y") == 6 / 2 and config.scaling("a.x") == 6 / 3
