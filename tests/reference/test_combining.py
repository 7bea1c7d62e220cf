"""`add_weighted_adapter` beside PEFT's. Compared is ΔW = s · B A: equal products can have other factors."""

import numpy as np
import pytest

pytestmark = pytest.mark.reference
pytest.importorskip("torch")
pytest.importorskip("peft")

from peft_reference import build, close, logits, ours, peft, quietly, randomize, theirs, torch  # noqa: E402

from minilora import PeftModel  # noqa: E402

MODELS = {  # name -> kind of base, options of adapter a, of b, of c (which may have another rank)
    "llama": ("llama", {"target_modules": ["q_proj", "k_proj", "down_proj"]}, {}, {"r": 6, "lora_alpha": 5}),
    "gpt2, square c_proj too": ("gpt2", {"target_modules": ["c_attn", "c_proj", "c_fc"]}, {}, {"r": 5}),
    "embedding and head": ("llama", {"target_modules": ["embed_tokens", "lm_head", "v_proj"]}, {}, {"r": 2}),
    "rank_pattern": (
        "llama",
        {"target_modules": ["q_proj", "o_proj"], "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"o_proj": 9}},
        {},
        {"r": 5, "rank_pattern": {"layers.1.self_attn.o_proj": 3}},
    ),
    "different targets": (
        "llama",
        {"target_modules": ["q_proj", "v_proj"]},
        {"target_modules": ["v_proj", "up_proj"]},
        {"target_modules": ["up_proj"], "r": 2},
    ),
}
EQUAL_RANKS = ("linear", "ties", "magnitude_prune")
ANY_RANKS = ("svd", "cat", "ties_svd", "magnitude_prune_svd")


def pair(tmp_path, kind, *options):
    """The same base with the same random adapters "a", "b", ... in PEFT and here. Options are those of `options[0]`."""
    build(kind, tmp_path / "base")
    shared = {"r": 4, "lora_alpha": 7, "fan_in_fan_out": kind == "gpt2"} | options[0]
    configs = [peft.LoraConfig(**shared | more) for more in ({}, *options[1:])]
    names = "abc"[: len(configs)]
    model, _ = quietly(peft.get_peft_model, theirs(tmp_path / "base"), configs[0], "a")
    for name, config in list(zip(names, configs, strict=True))[1:]:
        quietly(model.add_adapter, name, config)
    quietly(randomize(model).save_pretrained, tmp_path / "adapters")
    mine = PeftModel(ours(tmp_path / "base"))
    for name in names:
        mine.load_adapter(tmp_path / "adapters" / name, name)
    return model, mine


def their_deltas(model, name):  # -> {path: (out, in), or (V, d) of an embedding}
    found = {}
    for path, layer in model.base_model.model.named_modules():
        if isinstance(layer, peft.tuners.lora.LoraLayer) and (name in layer.lora_A or name in layer.lora_embedding_A):
            delta = layer.get_delta_weight(name).detach().numpy()
            found[path] = delta.T if getattr(layer, "fan_in_fan_out", False) else delta
    return found


def assert_same_deltas(model, mine, name, times=1.0, tolerance=2e-6):
    deltas, expected = mine.get_delta_weight(name), their_deltas(model, name)
    assert deltas.keys() == expected.keys()
    for path, delta in deltas.items():
        assert close(delta * times, expected[path], tolerance), path


def combined(model, mine, adapters, weights, kind, **options):
    quietly(model.add_weighted_adapter, adapters, weights, "mix", combination_type=kind, **options)
    mine.add_weighted_adapter(adapters, weights, "mix", kind, **options)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", [*EQUAL_RANKS, *ANY_RANKS])
def test_the_update_is_that_of_peft(tmp_path, name, kind):
    model, mine = pair(tmp_path, *MODELS[name])
    adapters, weights = (["a", "b"], [0.7, 0.4]) if kind in EQUAL_RANKS else (["a", "b", "c"], [0.7, 0.4, 1.2])
    combined(model, mine, adapters, weights, kind, density=0.4)
    assert_same_deltas(model, mine, "mix")


@pytest.mark.parametrize("kind", [*EQUAL_RANKS, *ANY_RANKS])
def test_the_update_with_a_negative_weight_is_that_of_peft(tmp_path, kind):
    model, mine = pair(tmp_path, *MODELS["llama"])
    combined(model, mine, ["b", "a"], [-0.7, 0.4], kind, density=0.3)
    assert_same_deltas(model, mine, "mix")


@pytest.mark.parametrize("kind", ["ties", "ties_svd"])
def test_the_sign_of_most_is_elected_as_peft_does(tmp_path, kind):
    model, mine = pair(tmp_path, "llama", {"target_modules": ["q_proj"]}, {}, {})
    combined(model, mine, list("abc"), [1, 0.5, 2], kind, density=0.6, majority_sign_method="frequency")
    assert_same_deltas(model, mine, "mix")


@pytest.mark.parametrize("kind", ["dare_linear", "dare_ties", "dare_linear_svd", "dare_ties_svd"])
@pytest.mark.parametrize("density", [0.3, 1])
def test_dare_is_that_of_peft_when_both_drop_the_same(tmp_path, monkeypatch, kind, density):
    model, mine = pair(tmp_path, "llama", {"target_modules": ["q_proj"]}, {})
    generator = np.random.default_rng(3)

    def bernoulli(input):
        return torch.tensor(generator.random(input.shape) < input.numpy()).to(input.dtype)

    monkeypatch.setattr(torch, "bernoulli", bernoulli)
    combined_here = {"combination_type": kind, "density": density}
    quietly(model.add_weighted_adapter, ["a", "b"], [0.7, -0.4], "mix", **combined_here)
    mine.add_weighted_adapter(["a", "b"], [0.7, -0.4], "mix", seed=3, **combined_here)
    assert_same_deltas(model, mine, "mix")


@pytest.mark.parametrize("kind", ["svd", "ties_svd"])
@pytest.mark.parametrize("rank", [2, 9])
def test_a_given_rank_is_used_as_in_peft(tmp_path, kind, rank):
    model, mine = pair(tmp_path, *MODELS["llama"])
    combined(model, mine, ["a", "c"], [0.7, 0.4], kind, density=0.5, svd_rank=rank)
    assert_same_deltas(model, mine, "mix", tolerance=1e-5)  # what is cut off depends on singular values that are near
    assert mine.peft_config["mix"].r == model.peft_config["mix"].r == rank


@pytest.mark.parametrize("kind", ["linear", "svd", "cat"])
def test_with_rslora_peft_is_too_large_by_the_root_of_its_rank_and_we_are_not(tmp_path, kind):
    model, mine = pair(tmp_path, "llama", {"target_modules": ["q_proj"], "use_rslora": True}, {})
    combined(model, mine, ["a", "b"], [0.7, 0.4], kind)
    assert_same_deltas(model, mine, "mix", times=np.sqrt(model.peft_config["mix"].r))
    if kind != "linear":  # these are exact sums, up to the rank
        whole = mine.get_delta_weight("a")["model.layers.0.self_attn.q_proj"] * 0.7
        whole = whole + 0.4 * mine.get_delta_weight("b")["model.layers.0.self_attn.q_proj"]
        U, S, Vt = np.linalg.svd(whole)
        rank = 4 if kind == "svd" else 8
        np.testing.assert_allclose(
            mine.get_delta_weight("mix")["model.layers.0.self_attn.q_proj"],
            U[:, :rank] * S[:rank] @ Vt[:rank],
            atol=2e-6,
        )


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", ["linear", "cat", "ties_svd"])
def test_what_is_saved_here_computes_the_same_in_peft(tmp_path, name, kind):
    model, mine = pair(tmp_path, *MODELS[name])
    mine.add_weighted_adapter(["a", "b"], [0.7, -0.4], "mix", kind, density=0.4)
    mine.set_adapter("mix")
    mine.save_pretrained(tmp_path / "saved", ["mix"])
    again, _ = quietly(peft.PeftModel.from_pretrained, theirs(tmp_path / "base"), tmp_path / "saved" / "mix")
    assert close(logits(mine), logits(again.eval()))


def test_scaling_at_run_time_is_that_of_pefts_layers(tmp_path):
    model, mine = pair(tmp_path, "llama", {"target_modules": ["q_proj"], "use_rslora": True}, {"use_rslora": False})
    layers = [m for m in model.modules() if isinstance(m, peft.tuners.lora.LoraLayer)]
    model.base_model.set_adapter(["a", "b"])
    mine.set_adapter(["a", "b"])

    def both(method, *arguments):
        getattr(mine, method)(*arguments)
        for layer in layers:
            getattr(layer, method)(*arguments)
        for name in "ab":
            assert_same_deltas(model, mine, name)
        assert close(logits(mine), logits(model))

    both("set_scale", "a", 0.3)
    both("scale_layer", 2.5)
    both("unscale_layer", 5)
    both("scale_layer", 0)
    both("unscale_layer")
    both("set_scale", "b", 0)
