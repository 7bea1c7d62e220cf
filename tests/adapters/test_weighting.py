"""How strongly an adapter acts, what it adds, and several combined into a new one, on a model."""

import numpy as np
import pytest
from tiny import random_ids, tiny_gpt2, tiny_llama

import minilora as ml
from minilora.combining.adapters import TYPES
from minilora.errors import ConfigError, UnknownNameError

IDS = random_ids()
Q = "model.layers.0.self_attn.q_proj"
TARGETS = ["q_proj", "down_proj"]


def config(r=3, alpha=5, targets=TARGETS, **options):
    return ml.LoraConfig(
        **{"r": r, "lora_alpha": alpha, "target_modules": targets, "init_lora_weights": False} | options
    )


def model_with(*configs, base=None):  # adapters "a", "b", ...
    model = ml.PeftModel(base or tiny_llama())
    for seed, (name, given) in enumerate(zip("abcde", configs, strict=False), start=1):
        model.add_adapter(name, given, seed)
    model.set_adapter(list(model.peft_config)[:1])
    return model


def logits(model, *active):
    model.set_adapter(list(active))
    with ml.no_grad():
        return model(IDS).numpy()


def snapshot(model):
    parameters = {name: p.data.copy() for name, p in model.named_parameters()}
    return list(model.peft_config), model.active_adapters, model.merged_adapters, parameters


def assert_unchanged(model, before):
    names, active, merged, parameters = snapshot(model)
    assert (names, active, merged) == before[:3] and parameters.keys() == before[3].keys()
    assert all(np.array_equal(parameters[name], before[3][name]) for name in parameters)


# ---- several adapters into a new one

FLAGS = {
    "plain": config(),
    "rsLoRA": config(use_rslora=True),
    "rank_pattern": config(rank_pattern={"q_proj": 2}, alpha_pattern={"layers.1.mlp.down_proj": 9}),
    "rank_pattern, rsLoRA": config(rank_pattern={"layers.0.self_attn.q_proj": 6}, use_rslora=True),
    "embedding and head": config(targets=["embed_tokens", "lm_head"]),
    "PiSSA": config(init_lora_weights="pissa"),
    "OLoRA, rsLoRA": config(init_lora_weights="olora", use_rslora=True),
    "layers": config(layers_to_transform=[1]),
    "excluded": config(targets="all-linear", exclude_modules=["k_proj"]),
    "alpha 0": config(alpha=0),
    "negative alpha": config(alpha=-4),
}


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("kind", ["linear", "cat", "svd", "ties"])
def test_one_adapter_of_weight_1_computes_what_it_computed(flags, kind, tmp_path):
    model = model_with(FLAGS[flags])
    for name, p in model.named_parameters():
        if "lora_" in name:  # PiSSA starts where the update is zero
            p.data = p.data + np.random.default_rng(4).standard_normal(p.shape).astype(np.float32) * 0.1
    model.add_weighted_adapter(["a"], [1.0], "same", kind)
    expected = logits(model, "a")
    np.testing.assert_allclose(logits(model, "same"), expected, atol=2e-5 * abs(expected).max())
    model.save_pretrained(tmp_path, ["same"])
    again = ml.PeftModel.from_pretrained(tiny_llama(), tmp_path / "same")
    np.testing.assert_allclose(again(IDS).numpy(), expected, atol=2e-5 * abs(expected).max())


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_works_on_layers_that_are_stored_transposed(kind):
    targets = ["c_attn", "c_proj", "c_fc", "wte"]  # h.N.attn.c_proj is square
    both = [config(targets=targets, fan_in_fan_out=True)] * 2
    model = model_with(*both, base=tiny_gpt2())
    model.add_weighted_adapter(["a", "b"], [0.7, -0.4], "mix", kind, density=0.5)
    assert [d.shape for d in model.get_delta_weight("mix").values()] == [
        d.shape for d in model.get_delta_weight("a").values()
    ]
    apart = logits(model, "mix")
    model.merge_adapter()
    np.testing.assert_allclose(model(IDS).numpy(), apart, atol=1e-4 * abs(apart).max())


def test_the_exact_sum_computes_what_the_weighted_adapters_compute_together():
    model = model_with(config(), config(r=2, alpha=7, use_rslora=True, targets=["v_proj", "q_proj"]))
    model.add_weighted_adapter(["a", "b"], [0.7, -0.4], "sum", "cat")
    model.set_scale("a", 0.7)
    model.set_scale("b", -0.4)
    together = logits(model, "a", "b")
    np.testing.assert_allclose(logits(model, "sum"), together, atol=2e-5 * abs(together).max())


def test_the_new_adapter_is_frozen_and_not_active():
    model = model_with(config(), config())
    model.add_weighted_adapter(["a", "b"], [1, 1], "mix")
    assert model.active_adapters == ["a"]
    assert not any(p.requires_grad for name, p in model.named_parameters() if ".mix." in name)
    model.set_adapter("mix")
    assert sum(p.requires_grad for p in model.parameters()) == 8  # it can be trained on


def test_a_scale_that_was_set_at_run_time_is_combined_too():
    model = model_with(config())
    model.set_scale("a", 3)
    model.add_weighted_adapter(["a"], [0.5], "mix", "linear")
    model.set_scale("a", 1)
    np.testing.assert_allclose(model.get_delta_weight("mix")[Q], 1.5 * model.get_delta_weight("a")[Q], atol=1e-5)


def test_merged_adapters_are_unmerged_first_and_the_note_says_so():
    model = model_with(config(), config())
    model.merge_adapter()
    with pytest.warns(UserWarning, match="add_weighted_adapter: adapters a were merged"):
        model.add_weighted_adapter(["a", "b"], [1, 1], "mix")
    assert model.merged_adapters == []


@pytest.mark.parametrize(
    "given, error, says",
    [
        ({"adapters": ["a", "x"]}, UnknownNameError, "no adapter 'x'; loaded: a, b, d, v"),
        ({"adapters": []}, ConfigError, "expected a list of one name or more"),
        ({"adapters": "ab"}, ConfigError, "expected a list of one name or more"),
        ({"adapters": None}, ConfigError, "expected a list of one name or more"),
        ({"adapters": [None, "a"]}, UnknownNameError, "no adapter None"),
        ({"adapters": [["a"], "b"]}, UnknownNameError, r"no adapter \['a'\]"),
        ({"adapters": ["a", "a"]}, ConfigError, "adapter 'a' is named twice"),
        ({"adapters": ["a", "d"]}, ConfigError, "adapter 'd' cannot be combined: it has lora_magnitude_vector"),
        ({"adapters": ["v", "a"]}, ConfigError, r"adapter 'v' \(VERA\) cannot be combined"),
        ({"weights": [1, np.nan]}, ConfigError, "nan is not a finite number"),
        ({"weights": [1]}, ConfigError, r"weights = \[1\]: expected a list of 2"),
        ({"adapter_name": "b"}, ConfigError, "an adapter 'b' exists already"),
        ({"adapter_name": "x.y"}, ConfigError, "cannot be an adapter's name"),
        ({"adapter_name": None}, ConfigError, "cannot be an adapter's name"),
        ({"combination_type": "sum"}, ConfigError, "combination_type 'sum'"),
        ({"svd_driver": "gesvd"}, ConfigError, "svd_driver 'gesvd'"),
        ({"combination_type": "ties"}, ConfigError, "density = None"),
    ],
)
def test_what_cannot_be_combined_is_refused_and_the_model_is_as_before(given, error, says):
    model = model_with(config(), config())
    model.add_adapter("d", config(use_dora=True))
    model.add_adapter("v", ml.VeraConfig(r=2, target_modules=["q_proj"]))
    model.merge_adapter()
    before = snapshot(model)
    arguments = {"adapters": ["a", "b"], "weights": [1, 1], "adapter_name": "mix"} | given
    with pytest.raises(error, match=says):
        model.add_weighted_adapter(**arguments)
    assert_unchanged(model, before)


# ---- how strongly an adapter acts


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"alpha_pattern": {"q_proj": 2}}])
def test_a_scale_multiplies_the_update(options):
    model = model_with(config(**options))
    before = model.get_delta_weight("a")
    model.set_scale("a", -0.3)
    for path, delta in model.get_delta_weight("a").items():
        np.testing.assert_allclose(delta, -0.3 * before[path], rtol=1e-5)
    model.set_scale("a", 1)  # 1 is as trained, not as it was a moment ago
    assert all(np.array_equal(d, before[path]) for path, d in model.get_delta_weight("a").items())


def test_scale_0_is_the_base():
    model = model_with(config())
    expected = logits(model)
    model.set_scale("a", 0)
    np.testing.assert_array_equal(logits(model, "a"), expected)


def test_layers_are_scaled_and_unscaled_for_the_active_adapters_only():
    model = model_with(config(), config(), config())
    model.set_adapter(["a", "b"])
    scales = lambda: [model.base_model.adapters[n].methods[Q].scaling * 3 / 5 for n in "abc"]  # noqa: E731
    model.set_scale("b", 2)
    model.scale_layer(3)
    assert scales() == pytest.approx([3, 6, 1])
    model.unscale_layer(6)
    assert scales() == pytest.approx([0.5, 1, 1])
    model.unscale_layer()
    assert scales() == pytest.approx([1, 1, 1])


def test_a_merged_adapter_is_unmerged_before_its_scale_changes():
    model = model_with(config())
    model.merge_adapter()
    with pytest.warns(UserWarning, match="set_scale: adapters a were merged"):
        model.set_scale("a", 0.5)
    apart = logits(model, "a")
    model.merge_adapter()
    np.testing.assert_allclose(model(IDS).numpy(), apart, atol=1e-4 * abs(apart).max())


def test_the_scale_is_not_saved(tmp_path):
    model = model_with(config())
    expected = logits(model, "a")
    model.set_scale("a", 0.5)
    model.save_pretrained(tmp_path)
    again = ml.PeftModel.from_pretrained(tiny_llama(), tmp_path / "a")
    np.testing.assert_array_equal(again(IDS).numpy(), expected)


@pytest.mark.parametrize("scale", [np.nan, np.inf, "1", None, True, [1], 10**400])
@pytest.mark.parametrize("method", ["set_scale", "scale_layer"])
def test_a_scale_that_is_no_finite_number_is_refused(method, scale):
    model = model_with(config())
    with pytest.raises(ConfigError, match=f"{method}: scale = .*, expected a finite number"):
        getattr(model, method)(*(["a"] if method == "set_scale" else []), scale)


def test_what_has_no_scale_is_refused_by_name():
    model = model_with(ml.VeraConfig(r=2, target_modules=["q_proj"]))
    for change in (lambda: model.set_scale("a", 0.5), lambda: model.scale_layer(0.5), model.unscale_layer):
        with pytest.raises(ConfigError, match=r"adapter 'a' \(VERA\) has no scale"):
            change()
    with pytest.raises(UnknownNameError, match="no adapter 'b'; loaded: a"):
        model.set_scale("b", 0.5)
    with pytest.raises(ConfigError, match="unscale_layer: scale is 0"):
        model.unscale_layer(0)


# ---- what an adapter adds

DELTAS = {
    "lora": config(targets=["embed_tokens", "q_proj"]),
    "dora": config(use_dora=True, targets=["embed_tokens", "q_proj"]),
    "pissa": config(init_lora_weights="pissa"),
    "vera": ml.VeraConfig(r=2, target_modules=["q_proj"], init_weights=False),
    "ia3": ml.IA3Config(
        target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], init_ia3_weights=False
    ),
    "adalora": ml.AdaLoraConfig(target_modules=["q_proj"], total_step=9),
}


@pytest.mark.parametrize("name", DELTAS)
def test_the_delta_of_a_layer_is_what_merging_adds(name):
    model = model_with(DELTAS[name])
    rng = np.random.default_rng(4)
    for parameter, p in model.named_parameters():
        if ".a." in parameter or parameter.endswith(".a"):
            p.data = p.data + rng.standard_normal(p.shape).astype(np.float32) * 0.1
    layers = {layer.path: layer for layer in model.base_model.layers}
    before = {path: layer.base_layer.dense().copy() for path, layer in layers.items()}
    deltas = model.get_delta_weight("a")
    model.merge_adapter()
    assert deltas.keys() == layers.keys()
    for path, delta in deltas.items():
        np.testing.assert_allclose(delta, layers[path].base_layer.dense() - before[path], atol=1e-5)
        assert abs(delta).max() > 0.005


def test_an_adapter_that_changes_no_weight_has_no_delta():
    model = model_with(ml.PromptTuningConfig(num_virtual_tokens=2))
    with pytest.raises(ConfigError, match="PROMPT_TUNING cannot be merged"):
        model.get_delta_weight("a")
