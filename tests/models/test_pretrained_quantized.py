"""A base that is stored in fewer bits while it is loaded."""

import numpy as np
import pytest
from tiny import tiny_gpt2, tiny_llama

import minilora as ml
from minilora.errors import ConfigError, FormatError
from minilora.files.safetensors import read_tensors, write_tensors
from minilora.models.pretrained import load_pretrained
from minilora.nn import Linear
from minilora.quantization.int8 import Int8
from minilora.quantization.nf4 import FourBit
from minilora.quantization.sixteen_bit import SixteenBit
from minilora.rounding import round_to

IDS = np.array([[3, 1, 4, 1, 5, 9, 2, 6]])
CONFIGS = {
    "nf4": ml.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4"),
    "nf4, double": ml.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True),
    "int8": ml.BitsAndBytesConfig(load_in_8bit=True),
}


@pytest.fixture(params=["llama", "gpt2"])
def base(request, tmp_path):
    (tiny_llama(tie_word_embeddings=True) if request.param == "llama" else tiny_gpt2()).save_pretrained(
        tmp_path / "base"
    )
    return tmp_path / "base"


def stored_as(config):
    if config.load_in_8bit:
        return Int8.of
    return lambda W: FourBit.of(W, config.bnb_4bit_quant_type, double=config.bnb_4bit_use_double_quant)


def dense_twin(folder, store):
    """The float32 base whose linear layers but the head are stored and read again."""
    model = load_pretrained(folder)
    for path, m in model.named_modules():
        if isinstance(m, Linear) and path != "lm_head":
            m.replace_weight(store(np.ascontiguousarray(m.dense())).dense())
    return model


@pytest.mark.parametrize("name", CONFIGS)
def test_a_quantized_base_computes_what_its_dequantized_weights_compute(base, name):
    model = load_pretrained(base, quantization_config=CONFIGS[name])
    np.testing.assert_allclose(model(IDS).numpy(), dense_twin(base, stored_as(CONFIGS[name]))(IDS).numpy(), atol=2e-5)


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_a_base_in_16_bits_computes_what_its_rounded_weights_compute(base, kind):
    rounded = load_pretrained(base)
    for p in rounded.parameters():
        p.data = round_to(p.data, kind)
    np.testing.assert_allclose(load_pretrained(base, dtype=kind)(IDS).numpy(), rounded(IDS).numpy(), atol=2e-5)


def test_what_is_not_quantized_has_the_requested_type(base):
    model = load_pretrained(base, dtype="bfloat16", quantization_config=CONFIGS["nf4"])
    kinds = {type(p.data) for p in model.parameters()}
    assert kinds == {FourBit, SixteenBit, np.ndarray}
    assert type(model.lm_head.weight.data) is SixteenBit
    for p in model.parameters():
        if isinstance(p.data, np.ndarray):
            assert p.ndim == 1 and (p.data == round_to(p.data, "bfloat16")).all()


def test_4_bit_weights_of_a_model_in_16_bits_are_read_as_rounded_to_16_bits(base):
    model = load_pretrained(base, dtype="bfloat16", quantization_config=CONFIGS["nf4"])
    W = next(p for p in model.parameters() if type(p.data) is FourBit).numpy()
    np.testing.assert_array_equal(W, round_to(W, "bfloat16"))


@pytest.mark.parametrize("name", [*CONFIGS, "bfloat16", "float16"])
def test_a_stored_base_that_is_saved_and_loaded_computes_the_same_bits(base, tmp_path, name):
    options = {"quantization_config": CONFIGS[name]} if name in CONFIGS else {"dtype": name}
    model = load_pretrained(base, **options)
    model.save_pretrained(tmp_path / "copy")
    again = load_pretrained(tmp_path / "copy", **options if name not in CONFIGS else {})
    np.testing.assert_array_equal(again(IDS).numpy(), model(IDS).numpy())
    assert again.quantization_config == model.quantization_config


def test_a_quantized_base_has_as_many_parameters_as_before(base):
    before = sum(p.size for p in load_pretrained(base).parameters())
    assert sum(p.size for p in load_pretrained(base, quantization_config=CONFIGS["nf4"]).parameters()) == before


def test_a_base_that_is_quantized_already_is_not_quantized_again(base, tmp_path):
    load_pretrained(base, quantization_config=CONFIGS["nf4"]).save_pretrained(tmp_path / "4bit")
    with pytest.raises(
        ConfigError, match="config.json: its weights are quantized already, and cannot be quantized again$"
    ):
        load_pretrained(tmp_path / "4bit", quantization_config=CONFIGS["nf4"])


def test_a_weight_that_cannot_be_stored_is_refused_by_name(base):
    file = base / "model.safetensors"
    tensors = read_tensors(file)
    name = next(n for n in tensors if n.endswith(("q_proj.weight", "c_attn.weight")))
    tensors[name][0, 0] = np.nan
    write_tensors(file, tensors)
    with pytest.raises(
        FormatError, match=f"{name}: a weight has a number that is not finite, and cannot be stored in 4 bits"
    ):
        load_pretrained(base, quantization_config=CONFIGS["nf4"])


def test_another_dtype_is_refused(base):
    with pytest.raises(ConfigError, match="^dtype 'float8': expected float32"):
        load_pretrained(base, dtype="float8")
