"""Files with 4-bit and 8-bit weights: what is missing or does not fit is refused by name."""

import json

import numpy as np
import pytest
from ml_dtypes import bfloat16
from tiny import tiny_llama

import minilora as ml
from minilora.errors import ConfigError, FormatError
from minilora.files.safetensors import read_tensors, write_tensors
from minilora.models.pretrained import load_pretrained

NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
Q = "model.layers.0.self_attn.q_proj"
STATE = f"{Q}.weight.quant_state.bitsandbytes__nf4"


def saved(folder, **quantization):
    tiny_llama().save_pretrained(folder / "base")
    load_pretrained(folder / "base", quantization_config=ml.BitsAndBytesConfig(**quantization)).save_pretrained(folder)
    return folder


def changed(folder, change):
    tensors = read_tensors(folder / "model.safetensors")
    change(tensors)
    write_tensors(folder / "model.safetensors", tensors)
    return folder


def state_with(**fields):
    def change(tensors):
        state = json.loads(tensors[STATE].tobytes()) | fields
        tensors[STATE] = np.frombuffer(json.dumps({k: v for k, v in state.items() if v is not None}).encode(), np.uint8)

    return change


def replaced(name, array):
    return lambda tensors: tensors.__setitem__(name, array)


@pytest.mark.parametrize(
    "key", ["absmax", "quant_map", "nested_absmax", "nested_quant_map", "quant_state.bitsandbytes__nf4"]
)
def test_a_4_bit_weight_without_one_of_its_keys_is_refused_by_name(tmp_path, key):
    folder = changed(saved(tmp_path, **NF4), lambda tensors: tensors.pop(f"{Q}.weight.{key}"))
    with pytest.raises(FormatError, match=f"{Q}.weight"):
        load_pretrained(folder)


def test_codes_that_do_not_fill_their_storage_type_are_not_written(tmp_path):
    folder = saved(tmp_path, **NF4 | {"bnb_4bit_quant_storage": "float64"})  # 24 x 16 codes are 192 bytes: 24 numbers
    assert load_pretrained(folder)
    tiny_llama(intermediate_size=25, hidden_size=20, num_attention_heads=2).save_pretrained(tmp_path / "odd")
    config = ml.BitsAndBytesConfig(**NF4 | {"bnb_4bit_quant_storage": "float64"})
    base = load_pretrained(tmp_path / "odd", quantization_config=config)
    with pytest.raises(ConfigError, match="bytes of codes, which are no whole numbers of bnb_4bit_quant_storage"):
        base.save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("scale", [np.nan, np.inf])
def test_an_8_bit_scale_that_is_not_finite_is_refused(tmp_path, scale):
    def change(tensors):
        tensors[f"{Q}.SCB"][3] = scale

    with pytest.raises(FormatError, match=f"{Q}.SCB has a number that is not finite$"):
        load_pretrained(changed(saved(tmp_path, load_in_8bit=True), change))


def test_an_8_bit_weight_without_its_scales_is_refused_by_name(tmp_path):
    folder = changed(saved(tmp_path, load_in_8bit=True), lambda tensors: tensors.pop(f"{Q}.SCB"))
    with pytest.raises(FormatError, match=f"{Q}.SCB is missing; without it the weight cannot be read$"):
        load_pretrained(folder)


@pytest.mark.parametrize("value", [np.ones((), np.uint8), np.zeros(0, np.uint8), np.zeros(2, np.uint8)])
def test_an_8_bit_weight_in_another_order_than_row_by_row_is_refused(tmp_path, value):
    folder = changed(saved(tmp_path, load_in_8bit=True), replaced(f"{Q}.weight_format", value))
    with pytest.raises(FormatError, match=f"{Q}.weight_format is not 0, the only format that is stored row by row$"):
        load_pretrained(folder)


def test_a_4_bit_weight_without_anything_beside_it_is_refused(tmp_path):
    def alone(tensors):
        for name in [n for n in tensors if n.startswith(f"{Q}.weight.")]:
            del tensors[name]

    with pytest.raises(
        FormatError, match=f"{Q}.weight has 0 tensors quant_state.bitsandbytes__nf4 or fp4, expected one$"
    ):
        load_pretrained(changed(saved(tmp_path, **NF4), alone))


@pytest.mark.parametrize(
    "change, line",
    [
        (state_with(blocksize=48), "has blocksize 48, expected one of 32, 64"),
        (state_with(blocksize=None), "has blocksize 'None', expected int"),
        (state_with(blocksize=128), "absmax has (6,) uint8, expected (3,) uint8 for (24, 16)"),
        (state_with(quant_type="fp4"), "has quant_type 'fp4', expected that of its name"),
        (state_with(dtype="int8"), "has dtype 'int8', expected float32, bfloat16 or float16"),
        (state_with(shape=[24]), "has shape [24], expected two whole numbers"),
        (state_with(shape=[16, 24]), "wrong shape or dtype"),
        (state_with(nested_blocksize=64), "has nested_blocksize 64, expected 256"),
        (state_with(nested_offset=None), "has nested_offset 'None', expected float"),
        (replaced(STATE, np.zeros(4, np.uint8)), "is not JSON"),
        (replaced(f"{Q}.weight", np.zeros((4, 1), np.uint8)), "weight has (4,) uint8, expected (192,) uint8"),
        (state_with(nested_offset=float("inf")), "has a nested_offset that is not finite"),
        (replaced(f"{Q}.weight.nested_absmax", np.full(1, np.nan, np.float32)), "has a number that is not finite"),
        (replaced(f"{Q}.weight.nested_quant_map", np.zeros(256, np.int64)), "has type I64, expected one of F32, F16"),
        (replaced(f"{Q}.weight.absmax", np.zeros(6, np.int64)), "has type I64, expected one of F32, F16"),
        (replaced(f"{Q}.weight.absmax", np.ones(6, bfloat16)), "save a model before it first computes"),
        (replaced(f"{Q}.weight.quant_map", np.zeros(16, np.float32)), "quant_map is another table than bitsandbytes'"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_by_name(tmp_path, change, line):
    with pytest.raises(FormatError) as error:
        load_pretrained(changed(saved(tmp_path, **NF4), change))
    assert line in str(error.value) and f"{Q}.weight" in str(error.value)


@pytest.mark.parametrize("storage", ["uint8", "bfloat16", "float16", "float32"])
def test_the_type_in_which_the_codes_are_stored_changes_nothing(tmp_path, storage):
    plain = load_pretrained(saved(tmp_path / "plain", **NF4))
    other = load_pretrained(saved(tmp_path / "other", **NF4, bnb_4bit_quant_storage=storage))
    np.testing.assert_array_equal(other.get_submodule(Q).dense(), plain.get_submodule(Q).dense())


def test_the_block_size_of_the_file_is_used(tmp_path):
    from minilora.quantization.nf4 import FourBit

    W = np.random.default_rng(0).standard_normal((24, 16)).astype(np.float32)
    stored = FourBit.of(W, size=128, double=True)

    def change(tensors):
        tensors |= {f"{Q}.weight": stored.packed, f"{Q}.weight.absmax": stored.absmax}
        tensors[f"{Q}.weight.nested_absmax"] = stored.absmax2
        state_with(blocksize=128, nested_offset=float(stored.offset))(tensors)

    model = load_pretrained(changed(saved(tmp_path, **NF4), change))
    np.testing.assert_array_equal(model.get_submodule(Q).dense(), stored.dense())


def test_config_and_files_that_disagree_are_refused(tmp_path):
    folder = saved(tmp_path, **NF4, llm_int8_skip_modules=["lm_head"])
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"]["llm_int8_skip_modules"] = ["lm_head", "q_proj"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(FormatError, match="config.json and files disagree which weights are quantized: model.layers.0"):
        load_pretrained(folder)
