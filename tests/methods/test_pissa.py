"""PiSSA and OLoRA: nothing changes at the start, the base stays whole, and the file is a plain LoRA."""

import numpy as np
import pytest
from tiny import random_ids, tiny_llama

from minilora import LoraConfig, PeftModel, Tensor, get_peft_model
from minilora.errors import ConfigError
from minilora.files.atomic import read_json
from minilora.gradcheck import gradcheck
from minilora.methods.lora import EmbeddingLora
from minilora.methods.pissa import Olora, Pissa, principal_part
from minilora.models.context import Context
from minilora.nn import Linear

IDS = random_ids()
STARTS = ("pissa", "pissa_niter_4", "olora")
each = pytest.mark.parametrize("start", STARTS)


def model_of(start, targets=("q_proj", "down_proj"), trained=True, **options):
    config = LoraConfig(r=3, lora_alpha=5, init_lora_weights=start, target_modules=list(targets), **options)
    model = get_peft_model(tiny_llama(dtype=np.float64), config, seed=2)
    if trained:
        rng = np.random.default_rng(0)
        for p in model.parameters():
            if p.requires_grad:
                p.data = p.data + 0.1 * rng.standard_normal(p.shape)
    return model


@each
def test_the_function_is_unchanged_at_the_start(start):
    plain = tiny_llama(dtype=np.float64)(IDS).data
    assert np.allclose(model_of(start, trained=False)(IDS).data, plain, atol=1e-12)


def test_the_start_holds_the_largest_singular_values():
    layer = Linear(7, 11).init(0, np.float64)
    method = Pissa.beside(layer, LoraConfig(r=3, lora_alpha=5, init_lora_weights="pissa"))
    S = np.linalg.svd(layer.dense(), compute_uv=False)
    rest = layer.dense() - method.scaling * method.B.data @ method.A.data
    assert np.allclose(np.linalg.svd(rest, compute_uv=False)[:4], S[3:7], rtol=1e-10)
    assert np.allclose(method.A.data @ method.A.data.T, np.diag(S[:3] / method.scaling), atol=1e-12)


def test_the_fast_svd_finds_the_same_part():
    rng = np.random.default_rng(0)
    W = rng.standard_normal((40, 30)) @ np.diag(0.8 ** np.arange(30)) @ np.linalg.qr(rng.standard_normal((30, 30)))[0]
    exact, fast = (U * S @ Vt for U, S, Vt in (principal_part(W, 4), principal_part(W, 4, passes=4)))
    assert np.allclose(exact, fast, atol=1e-6 * abs(W).max())


def test_olora_starts_from_an_orthogonal_b():
    layer = Linear(7, 11).init(0, np.float64)
    method = Olora.beside(layer, LoraConfig(r=3, lora_alpha=5, init_lora_weights="olora"))
    assert np.allclose(method.B.data.T @ method.B.data, np.eye(3), atol=1e-12)


@each
def test_disable_adapter_gives_the_true_base_and_the_base_keeps_its_bits(start):
    plain = tiny_llama(dtype=np.float64)
    model = model_of(start)
    with model.disable_adapter():
        assert np.array_equal(model(IDS).data, plain(IDS).data)
    own = dict(plain.named_parameters())
    for name, p in model.base_model.base_parameters.items():
        assert name not in own or np.array_equal(p.data, own[name].data)


@each
@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"rank_pattern": {"down_proj": 2}}], ids=str)
def test_what_is_saved_is_a_plain_lora_for_the_pristine_base(start, options, tmp_path):
    model = model_of(start, **options)
    model.save_pretrained(tmp_path)
    config = read_json(tmp_path / "adapter_config.json")
    assert (config["r"], config["init_lora_weights"]) == (6, True)
    again = PeftModel.from_pretrained(tiny_llama(dtype=np.float64), tmp_path)
    assert np.allclose(again(IDS).data, model(IDS).data, atol=1e-12)


def test_rslora_with_patterns_of_rank_and_alpha_is_saved_right(tmp_path):
    """PEFT refuses this combination."""
    options = {"use_rslora": True, "rank_pattern": {"down_proj": 2}, "alpha_pattern": {"q_proj": 7}}
    model = model_of("pissa", **options)
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(tiny_llama(dtype=np.float64), tmp_path)
    assert np.allclose(again(IDS).data, model(IDS).data, atol=1e-12)


def test_embeddings_and_trained_modules_survive_saving(tmp_path):
    model = model_of("pissa", ["q_proj", "embed_tokens"], modules_to_save=["lm_head"])
    assert isinstance(model.base_model.adapters["default"].methods["model.embed_tokens"], EmbeddingLora)
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(tiny_llama(dtype=np.float64), tmp_path)
    assert np.allclose(again(IDS).data, model(IDS).data, atol=1e-12)


@each
def test_merging_gives_the_same_function_and_unmerging_the_same_bits(start):
    model = model_of(start)
    apart = model(IDS).data
    model.merge_adapter()
    assert np.allclose(model(IDS).data, apart, atol=1e-11)
    model.unmerge_adapter()
    assert np.array_equal(model(IDS).data, apart)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_gradients_are_those_of_central_differences(dropout):
    layer = Linear(4, 6).init(0, np.float64)
    method = Pissa.beside(layer, LoraConfig(r=2, lora_alpha=3, init_lora_weights="pissa", lora_dropout=dropout))

    def f(x, A, B):
        method.A, method.B = A, B
        return method.update(layer(x), x, layer, Context(training=True, rng=np.random.default_rng(5)))

    rng = np.random.default_rng(1)
    gradcheck(f, [Tensor(rng.standard_normal(s), requires_grad=True) for s in ((3, 4), (2, 4), (6, 2))])


def test_the_update_of_rank_2r_is_that_of_the_two_branches():
    layer = Linear(4, 6).init(0, np.float64)
    method = Pissa.beside(layer, LoraConfig(r=2, lora_alpha=3, init_lora_weights="pissa"))
    rng = np.random.default_rng(1)
    method.A.data, method.B.data = rng.standard_normal((2, 4)), rng.standard_normal((6, 2))
    x = rng.standard_normal((3, 4))
    branches = [s * x @ A.data.T @ B.data.T for s, A, B in ((1.5, method.A, method.B), (-1.5, method.A0, method.B0))]
    expected = layer(Tensor(x)).data + sum(branches)
    assert np.allclose(method.update(layer(Tensor(x)), Tensor(x), layer, Context()).data, expected, atol=1e-13)


def test_only_a_and_b_learn_and_they_are_counted_once():
    model = model_of("pissa")
    assert model.get_nb_trainable_parameters()[0] == 2 * (3 * (16 + 24) + 3 * (20 + 16))
    model.loss(IDS, IDS).backward()
    for method in model.base_model.adapters["default"].methods.values():
        assert method.A.grad is not None and method.A0.grad is None and method.B0.grad is None


def test_dora_and_pissa_are_refused_together():
    with pytest.raises(ConfigError, match="use_dora with init_lora_weights 'pissa'"):
        LoraConfig(use_dora=True, init_lora_weights="pissa")


@pytest.mark.parametrize("start", ["pissa_niter_0", "pissa_niter_", "pissa_niter_x", "Pissa", "svd"])
def test_an_unknown_start_is_refused(start):
    with pytest.raises(ConfigError, match="init_lora_weights = .*: expected True, False, 'gaussian', 'pissa'"):
        LoraConfig(init_lora_weights=start)


@pytest.mark.parametrize("start", ["pissa", "olora"])
@pytest.mark.parametrize("alpha", [0, -1])
def test_a_scale_that_is_not_above_zero_has_no_root_and_is_refused(start, alpha):
    with pytest.raises(ConfigError, match="lora_alpha must be above 0"):
        get_peft_model(
            tiny_llama(), LoraConfig(r=2, lora_alpha=alpha, init_lora_weights=start, target_modules=["q_proj"])
        )


def test_patterns_of_none_are_saved_as_no_patterns(tmp_path):
    config = LoraConfig(
        r=2, rank_pattern=None, alpha_pattern=None, init_lora_weights="pissa", target_modules=["q_proj"]
    )
    get_peft_model(tiny_llama(), config).save_pretrained(tmp_path)
    assert PeftModel.from_pretrained(tiny_llama(), tmp_path).peft_config["default"].r == 4
