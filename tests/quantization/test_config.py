"""BitsAndBytesConfig: transformers' fields, and what is refused."""

import numpy as np
import pytest

import minilora as ml
from minilora.errors import ConfigError
from minilora.quantization.config import BitsAndBytesConfig

NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}


def test_it_is_a_name_of_the_package():
    assert ml.BitsAndBytesConfig is BitsAndBytesConfig


@pytest.mark.parametrize(
    "fields, line",
    [
        ({}, "load_in_4bit False and load_in_8bit False: exactly one of them must be True"),
        (NF4 | {"load_in_8bit": True}, "load_in_4bit True and load_in_8bit True: exactly one of them must be True"),
        ({"load_in_4bit": 1}, "load_in_4bit 1: expected True or False"),
        (NF4 | {"bnb_4bit_quant_type": "nf5"}, "bnb_4bit_quant_type 'nf5': expected nf4, fp4"),
        (
            NF4 | {"bnb_4bit_compute_dtype": "int8"},
            "bnb_4bit_compute_dtype 'int8': expected float32, bfloat16, float16",
        ),
        (NF4 | {"bnb_4bit_quant_storage": "int4"}, "bnb_4bit_quant_storage 'int4': expected int8, "),
        (NF4 | {"llm_int8_skip_modules": "lm_head"}, "llm_int8_skip_modules 'lm_head': expected a list of names"),
        ({"load_in_8bit": True, "llm_int8_has_fp16_weight": True}, "llm_int8_has_fp16_weight True is not supported"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(fields, line):
    with pytest.raises(ConfigError) as error:
        BitsAndBytesConfig(**fields)
    assert str(error.value).startswith(line)


@pytest.mark.parametrize("dtype", [np.float16, "float16", "torch.float16", np.dtype("float16")])
def test_a_type_is_a_name_or_an_object(dtype):
    assert BitsAndBytesConfig(**NF4, bnb_4bit_compute_dtype=dtype).compute == "float16"


def test_a_config_json_gives_the_config_that_was_written():
    config = BitsAndBytesConfig(**NF4, bnb_4bit_use_double_quant=True, llm_int8_skip_modules=["lm_head", "q_proj"])
    assert BitsAndBytesConfig.from_json(config.to_json(), "config.json") == config


@pytest.mark.parametrize(
    "data, line",
    [
        ({"quant_method": "gptq", "bits": 4}, "c.json: quant_method 'gptq' is not supported, only bitsandbytes"),
        (NF4 | {"bits": 4}, "c.json: quantization_config has 'bits', which is not known here"),
        ("nf4", "c.json: quantization_config: load_in_4bit False and load_in_8bit False: exactly one"),
    ],
)
def test_the_config_of_a_file_is_refused_with_its_name(data, line):
    with pytest.raises(ConfigError) as error:
        BitsAndBytesConfig.from_json(data, "c.json")
    assert str(error.value).startswith(line)
