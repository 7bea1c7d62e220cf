"""The table of methods: each type in it can be made, and a field may choose another method of the same type."""

import pytest
from tiny import random_ids, tiny_llama

from minilora import LoraConfig, get_peft_model
from minilora.adapters.registry import ADAPTERS, FLAGS, NAMES, STARTS, config_class, config_named, method_of
from minilora.errors import ConfigError, UnknownNameError
from minilora.finetuning import RATE_TIMES_WIDTH
from minilora.methods.dora import DoraAdapter
from minilora.methods.lora import LoraAdapter
from minilora.methods.pissa import OloraAdapter, PissaAdapter


@pytest.mark.parametrize("peft_type", ADAPTERS)
def test_a_type_has_a_config_that_says_so_and_chooses_its_class(peft_type):
    kind = config_class(peft_type)
    assert kind.peft_type == peft_type
    assert ADAPTERS[peft_type].config_class is kind


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, LoraAdapter),
        ({"init_lora_weights": False}, LoraAdapter),
        ({"init_lora_weights": "gaussian"}, LoraAdapter),
        ({"use_dora": True}, DoraAdapter),
        ({"init_lora_weights": "pissa"}, PissaAdapter),
        ({"init_lora_weights": "pissa_niter_4"}, PissaAdapter),
        ({"init_lora_weights": "olora"}, OloraAdapter),
    ],
    ids=str,
)
def test_fields_of_a_lora_config_choose_its_method(options, expected):
    assert method_of(LoraConfig(**options)) is expected


def test_every_method_that_has_a_name_has_a_learning_rate_for_training():
    assert RATE_TIMES_WIDTH.keys() == NAMES.keys() | {"full"}


@pytest.mark.parametrize("name", NAMES)
def test_a_method_can_be_asked_for_by_its_name(name):
    given = {"r": 3, "target_modules": ["q_proj", "down_proj"], "num_virtual_tokens": 4, "lora_dropout": None}
    config = config_named(name, no_such_field=1, **given)
    assert isinstance(config, NAMES[name][0])
    for field, value in NAMES[name][1].items():
        assert getattr(config, field) == value
    if hasattr(config, "r"):
        assert config.r == 3


def test_a_setting_that_is_none_leaves_the_default():
    assert config_named("lora", r=None, lora_alpha=5) == LoraConfig(lora_alpha=5)


def test_a_method_that_has_no_name_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="no method 'dorra'; there are: dora"):
        config_named("dorra")


def test_every_flag_and_start_is_a_field_of_lora():
    assert FLAGS.keys() <= LoraConfig().__dict__.keys()
    for start in STARTS:
        model = get_peft_model(tiny_llama(), LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=start))
        assert model.loss(random_ids(), random_ids()).requires_grad


@pytest.mark.parametrize("unknown", ["LOHA", "lora", "", None, ["LORA"]])
def test_a_type_that_is_not_in_the_table_is_refused_with_those_that_are(unknown):
    with pytest.raises(ConfigError, match="is not supported, only .*LORA"):
        config_class(unknown)
