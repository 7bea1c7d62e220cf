"""Which modules a config chooses: names, regular expressions, all-linear, exclusions, layers."""

import pytest
from tiny import adapted_paths, tiny_gpt2, tiny_llama

from minilora import LoraConfig
from minilora.adapters.targets import match_targets
from minilora.errors import ConfigError

Q = ["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"]


def test_a_name_of_the_list_is_a_path_or_its_ending():
    assert adapted_paths(target_modules=["q_proj"]) == Q
    assert adapted_paths(target_modules=["self_attn.q_proj"]) == Q
    assert adapted_paths(target_modules=[Q[1]]) == Q[1:]


def test_a_name_of_the_list_does_not_match_a_part_of_a_word():
    with pytest.raises(ConfigError, match="no module matches target 'proj'"):
        adapted_paths(target_modules=["proj"])


def test_a_tuple_or_a_set_of_names_is_a_list():
    assert adapted_paths(target_modules=("q_proj",)) == adapted_paths(target_modules={"q_proj"}) == Q


def test_a_string_is_a_regular_expression_for_the_whole_path():
    assert adapted_paths(target_modules=r".*\.1\..*q_proj") == Q[1:]
    with pytest.raises(ConfigError, match=r"a regular expression for the whole path; a name is \['q_proj'\]"):
        adapted_paths(target_modules="q_proj")


@pytest.mark.parametrize("spelling", ["all-linear", "All-Linear"])
def test_all_linear_is_every_linear_layer_but_the_head(spelling):
    base = tiny_llama()
    kinds = {p: type(m).__name__ for p, m in base.named_modules()}
    linear = [p for p, kind in kinds.items() if kind == "Linear" and p != "lm_head"]
    assert adapted_paths(target_modules=spelling) == linear and len(linear) == 14


def test_all_linear_of_gpt2_is_every_conv1d():
    assert len(adapted_paths(tiny_gpt2(), target_modules="all-linear", fan_in_fan_out=True)) == 8


def test_excluded_modules_are_left_out():
    assert adapted_paths(target_modules=["q_proj", "v_proj"], exclude_modules=["v_proj"]) == Q
    assert adapted_paths(target_modules=["q_proj"], exclude_modules=r".*layers\.0.*") == Q[1:]


@pytest.mark.parametrize("wanted", [1, [1], [1, 7]])
def test_layers_to_transform_chooses_layers_by_index(wanted):
    assert adapted_paths(target_modules=["q_proj"], layers_to_transform=wanted) == Q[1:]
    assert adapted_paths(target_modules=["q_proj"], layers_to_transform=wanted, layers_pattern="layers") == Q[1:]
    assert adapted_paths(target_modules=["q_proj"], layers_to_transform=wanted, layers_pattern=["h", "layers"]) == Q[1:]


def test_an_empty_list_of_layers_means_all_and_a_whole_path_needs_no_index():
    assert adapted_paths(target_modules=["q_proj"], layers_to_transform=[]) == Q
    assert adapted_paths(target_modules=[Q[0]], layers_to_transform=[1]) == Q[:1]


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
        adapted_paths(target_modules=targets)


def test_excluding_every_target_is_refused():
    with pytest.raises(ConfigError, match="all 2 modules that match .* are left out again, by exclude_modules"):
        adapted_paths(target_modules=["q_proj"], exclude_modules=["q_proj"])
    with pytest.raises(ConfigError, match="or layers_to_transform"):
        adapted_paths(target_modules=["q_proj"], layers_to_transform=[2])


def test_modules_are_chosen_by_their_paths_alone():
    config = LoraConfig(target_modules=["q_proj"], exclude_modules=["b.q_proj"])
    assert match_targets(config, ["a.q_proj", "a.k_proj", "b.q_proj"], []) == ["a.q_proj"]
