"""Which modules a config chooses, which settings are refused, and in what words."""

import math
import warnings

import numpy as np
import pytest
from tiny import random_ids, tiny_llama

from minilora import LoraConfig, get_peft_model
from minilora.adapters.targets import match_targets
from minilora.errors import ConfigError, MiniloraError
from minilora.methods.lora import scaling
from minilora.models.gpt2 import GPT2Config, GPT2LMHeadModel

IDS = random_ids()


def adapted(model=None, **options):
    """The paths that get an adapter, in order."""
    model = get_peft_model(model or tiny_llama(), LoraConfig(r=2, **options))
    return [layer.path for layer in model.base_model.layers]


def gpt2():
    return GPT2LMHeadModel(GPT2Config(vocab_size=29, n_embd=16, n_layer=2, n_head=4, n_positions=32)).init(0)


Q = ["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"]


def test_the_scale_is_alpha_over_r_and_alpha_over_root_r_when_rank_stabilised():
    assert scaling(5, 3) == 5 / 3
    assert scaling(5, 3, use_rslora=True) == 5 / math.sqrt(3)


def test_a_name_of_the_list_is_a_path_or_its_ending():
    assert adapted(target_modules=["q_proj"]) == Q
    assert adapted(target_modules=["self_attn.q_proj"]) == Q
    assert adapted(target_modules=[Q[1]]) == Q[1:]


def test_a_name_of_the_list_does_not_match_a_part_of_a_word():
    with pytest.raises(ConfigError, match="no module matches target 'proj'"):
        adapted(target_modules=["proj"])


def test_a_tuple_or_a_set_of_names_is_a_list():
    assert adapted(target_modules=("q_proj",)) == adapted(target_modules={"q_proj"}) == Q


def test_a_string_is_a_regular_expression_for_the_whole_path():
    assert adapted(target_modules=r".*\.1\..*q_proj") == Q[1:]
    with pytest.raises(ConfigError, match=r"a regular expression for the whole path; a name is \['q_proj'\]"):
        adapted(target_modules="q_proj")


@pytest.mark.parametrize("spelling", ["all-linear", "All-Linear"])
def test_all_linear_is_every_linear_layer_but_the_head(spelling):
    base = tiny_llama()
    kinds = {p: type(m).__name__ for p, m in base.named_modules()}
    linear = [p for p, kind in kinds.items() if kind == "Linear" and p != "lm_head"]
    assert adapted(target_modules=spelling) == linear and len(linear) == 14


def test_all_linear_of_gpt2_is_every_conv1d():
    assert len(adapted(gpt2(), target_modules="all-linear", fan_in_fan_out=True)) == 8


def test_all_linear_is_kept_written_out():
    model = get_peft_model(tiny_llama(), LoraConfig(r=2, target_modules="all-linear"))
    names = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    assert model.peft_config["default"].target_modules == names


def test_a_config_that_is_written_out_is_another_object_than_the_callers():
    config = LoraConfig(r=2, target_modules="all-linear", exclude_modules=Q[:1])
    model = get_peft_model(tiny_llama(), config)
    assert config.target_modules == "all-linear" != model.peft_config["default"].target_modules
    assert Q[0] not in [layer.path for layer in model.base_model.layers]


def test_excluded_modules_are_left_out():
    assert adapted(target_modules=["q_proj", "v_proj"], exclude_modules=["v_proj"]) == Q
    assert adapted(target_modules=["q_proj"], exclude_modules=r".*layers\.0.*") == Q[1:]


def test_modules_to_save_are_not_adapted_too():
    assert adapted(target_modules=["q_proj", "lm_head"], modules_to_save=["lm_head"]) == Q


@pytest.mark.parametrize("wanted", [1, [1], [1, 7]])
def test_layers_to_transform_chooses_layers_by_index(wanted):
    assert adapted(target_modules=["q_proj"], layers_to_transform=wanted) == Q[1:]
    assert adapted(target_modules=["q_proj"], layers_to_transform=wanted, layers_pattern="layers") == Q[1:]
    assert adapted(target_modules=["q_proj"], layers_to_transform=wanted, layers_pattern=["h", "layers"]) == Q[1:]


def test_an_empty_list_of_layers_means_all_and_a_whole_path_needs_no_index():
    assert adapted(target_modules=["q_proj"], layers_to_transform=[]) == Q
    assert adapted(target_modules=[Q[0]], layers_to_transform=[1]) == Q[:1]


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


def test_an_embedding_and_the_head_can_be_targets():
    assert adapted(target_modules=["embed_tokens", "lm_head"]) == ["model.embed_tokens", "lm_head"]


@pytest.mark.parametrize(
    ("targets", "line"),
    [
        (["q_prj"], "no module matches target 'q_prj'; the model has: q_proj, "),
        (["q_proj", "k_prj"], "no module matches target 'k_prj'; the model has: k_proj, "),
        (".*atn.*", "no module matches target_modules '.*atn.*'"),
        ([], r"target_modules is empty; this model has: down_proj, gate_proj"),
        ("[", r"target_modules = '\[': expected a list of names or a regular expression \(unterminated character set"),
        (["norm"], r"matches model.norm, a RMSNorm; LoRA adapts linear layers and embeddings: "),
        (r"model\.layers\.0\.self_attn", "matches model.layers.0.self_attn, a LlamaAttention"),
    ],
)
def test_targets_that_match_nothing_that_can_be_adapted_are_refused_with_the_near_misses(targets, line):
    with pytest.raises(ConfigError, match=line):
        adapted(target_modules=targets)


def test_without_targets_the_ones_that_peft_takes_for_the_model_are_adapted():
    assert {path.rpartition(".")[2] for path in adapted()} == {"q_proj", "v_proj"}
    assert {path.rpartition(".")[2] for path in adapted(gpt2(), fan_in_fan_out=True)} == {"c_attn"}


def test_excluding_every_target_is_refused():
    with pytest.raises(ConfigError, match="all 2 modules that match .* are left out again, by exclude_modules"):
        adapted(target_modules=["q_proj"], exclude_modules=["q_proj"])
    with pytest.raises(ConfigError, match="or layers_to_transform"):
        adapted(target_modules=["q_proj"], layers_to_transform=[2])


def test_a_rank_above_the_smaller_side_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"rank 13 is above the smaller side of .*0.*k_proj \(12, 16\) and of 1 more"):
        get_peft_model(tiny_llama(), LoraConfig(r=13, target_modules=["q_proj", "k_proj"]))
    with pytest.raises(ConfigError, match=r"k_proj \(12, 16\): 12 already gives every update"):
        get_peft_model(tiny_llama(num_hidden_layers=1), LoraConfig(r=13, target_modules=["k_proj"]))
    get_peft_model(tiny_llama(), LoraConfig(r=12, target_modules=["k_proj"]))


def test_a_refused_adapter_leaves_the_model_as_it_was():
    model = tiny_llama()
    before = [(n, p.requires_grad) for n, p in model.named_parameters()]
    for options, line in (
        ({"r": 13}, "rank 13 is above the smaller side"),
        ({"modules_to_save": ["nrm"]}, "no module matches modules_to_save 'nrm'"),
        ({"modules_to_save": ["mlp"]}, "mlp holds other modules"),
    ):
        with pytest.raises(ConfigError, match=line):
            get_peft_model(model, LoraConfig(**{"target_modules": ["k_proj"], **options}))
    assert [(n, p.requires_grad) for n, p in model.named_parameters()] == before


def test_modules_to_save_names_every_path_that_ends_so_as_in_peft():
    model = get_peft_model(tiny_llama(), LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["norm"]))
    copies = {n for n, _ in model.named_parameters() if ".modules_to_save." in n}
    assert len(copies) == 5 and all("norm" in n for n in copies)


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["nrm"], "no module matches modules_to_save 'nrm'; the model has: norm"),
        (["mlp"], r"model.layers.0.mlp holds other modules \(gate_proj, ...\); name those instead"),
        (["q_proj"], "all 2 modules that match target_modules .* are left out again"),
    ],
)
def test_modules_to_save_that_cannot_be_are_refused(names, line):
    with pytest.raises(ConfigError, match=line):
        adapted(target_modules=["q_proj"], modules_to_save=names)


def test_a_module_that_another_adapter_has_adapted_cannot_be_saved():
    model = get_peft_model(tiny_llama(), LoraConfig(r=2, target_modules=["lm_head"]))
    with pytest.raises(ConfigError, match="lm_head cannot be both"):
        model.add_adapter("b", LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"]))
    assert list(model.peft_config) == ["default"]


@pytest.mark.parametrize(("model", "given", "right"), [(gpt2, False, True), (tiny_llama, True, False)])
def test_fan_in_fan_out_is_set_right_with_one_warning(model, given, right):
    targets = "all-linear"
    with pytest.warns(UserWarning, match=f"fan_in_fan_out set to {right} to match") as said:
        wrapped = get_peft_model(model(), LoraConfig(r=2, target_modules=targets, fan_in_fan_out=given))
    assert len(said) == 1 and wrapped.peft_config["default"].fan_in_fan_out is right
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        get_peft_model(model(), LoraConfig(r=2, target_modules=targets, fan_in_fan_out=right))


def test_an_adapted_gpt2_learns_what_its_dense_form_says():
    model = get_peft_model(
        gpt2(), LoraConfig(r=3, lora_alpha=5, target_modules=["c_fc"], fan_in_fan_out=True, init_lora_weights=False)
    )
    layer = model.get_base_model().transformer.h[0].mlp.c_fc
    assert layer.shape == (64, 16) == layer.adapters["default"].delta().shape
    x = np.random.default_rng(0).standard_normal((3, 16)).astype(np.float32)
    from minilora import Tensor

    W = layer.base_layer.dense() + layer.adapters["default"].delta()
    expected = x @ W.T + layer.base_layer.bias.data
    assert np.allclose(layer(Tensor(x), model.new_context()).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("r", 0), ("r", -1), ("r", 2.0), ("r", True), ("r", "8"), ("lora_alpha", "8"), ("lora_alpha", math.nan),
        ("lora_alpha", math.inf), ("lora_alpha", None), ("lora_alpha", True), ("lora_dropout", 1.0),
        ("lora_dropout", -0.1), ("lora_dropout", "0"), ("rank_pattern", {"q": 0}), ("rank_pattern", {"q": 1.5}),
        ("rank_pattern", ["q"]), ("rank_pattern", {"(": 3}), ("alpha_pattern", {"q": "2"}), ("alpha_pattern", {"(": 2}),
        ("target_modules", "("), ("target_modules", 3), ("target_modules", [1]), ("target_modules", [""]),
        ("exclude_modules", "("), ("exclude_modules", {"q": 1}), ("layers_to_transform", "1"),
        ("layers_to_transform", [0.5]), ("layers_to_transform", True), ("modules_to_save", "lm_head"),
        ("modules_to_save", [None]), ("bias", "all"), ("bias", "lora_only"), ("bias", None),
        ("init_lora_weights", "pissa"), ("init_lora_weights", None), ("init_lora_weights", 1), ("use_rslora", 1),
        ("fan_in_fan_out", "yes"), ("task_type", "CAUSAL"), ("task_type", []), ("base_model_name_or_path", 3),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_refused_by_name(field, value):
    with pytest.raises(ConfigError, match=field):
        LoraConfig(**{"target_modules": ["q_proj"], field: value})


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ".*q_proj", "layers_to_transform": [1]},
        {"target_modules": "all-linear", "layers_to_transform": 1},
        {"target_modules": ".*q_proj", "layers_pattern": "layers"},
        {"target_modules": ["q_proj"], "layers_pattern": "layers"},
    ],
)
def test_settings_that_contradict_each_other_are_refused_as_in_peft(options):
    with pytest.raises(ConfigError, match="layers_pattern|layers_to_transform"):
        LoraConfig(**options)


def test_every_error_of_a_config_is_one_line():
    for options, line in (
        ({"lora_alpha": ""}, "lora_alpha = ''"),
        ({"target_modules": ["q_prj"]}, "no module matches target 'q_prj'"),
        ({"target_modules": ".*"}, r"target_modules '\.\*' matches model, a LlamaModel"),
        ({"modules_to_save": ["x" * 90]}, "no module matches modules_to_save 'x{40}"),
    ):
        with pytest.raises(MiniloraError, match=line) as error:
            adapted(**({"target_modules": ["q_proj"]} | options))
        assert "\n" not in str(error.value)


def test_modules_are_chosen_by_their_paths_alone():
    config = LoraConfig(target_modules=["q_proj"], exclude_modules=["b.q_proj"])
    assert match_targets(config, ["a.q_proj", "a.k_proj", "b.q_proj"], []) == ["a.q_proj"]
