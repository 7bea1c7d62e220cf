"""Values that a field of a config cannot have are refused by its name."""

import math
import time

import pytest
from tiny import adapted_paths

from minilora import LoraConfig
from minilora.errors import ConfigError, MiniloraError


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
        ("init_lora_weights", "corda"), ("init_lora_weights", None), ("init_lora_weights", 1), ("use_rslora", 1),
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


def test_a_pattern_for_every_module_of_a_large_model_is_matched_in_seconds():
    paths = [f"model.layers.{layer}.self_attn.{name}_proj" for layer in range(100) for name in "qkvo"]  # as EVA writes
    config, began = LoraConfig(rank_pattern={path: 1 + n % 5 for n, path in enumerate(paths)}), time.process_time()
    assert [config.rank(path) for path in paths] == [1 + n % 5 for n in range(400)]
    assert time.process_time() - began < 10


def test_more_patterns_than_any_model_has_modules_are_refused():
    with pytest.raises(ConfigError, match="^alpha_pattern = .*at most 2,000 of them"):
        LoraConfig(alpha_pattern={f"layer{n}": 2 for n in range(2001)})


def test_every_error_of_a_config_is_one_line():
    for options, line in (
        ({"lora_alpha": ""}, "lora_alpha = ''"),
        ({"target_modules": ["q_prj"]}, "no module matches target 'q_prj'"),
        ({"target_modules": ".*"}, r"target_modules '\.\*' matches model, a LlamaModel"),
        ({"modules_to_save": ["x" * 90]}, "no module matches modules_to_save 'x{40}"),
    ):
        with pytest.raises(MiniloraError, match=line) as error:
            adapted_paths(**({"target_modules": ["q_proj"]} | options))
        assert "\n" not in str(error.value)
