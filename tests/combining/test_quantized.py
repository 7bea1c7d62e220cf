"""Three merges of an adapter that was trained on a quantized base."""

import numpy as np
import pytest
from tiny import tiny_gpt2, tiny_llama

import minilora as ml
from minilora.combining.checkpoint import merge_to_folder
from minilora.combining.quantized import HOW, changed_codes, merge_requantized
from minilora.errors import ConfigError
from minilora.models.pretrained import load_pretrained
from minilora.quantization.int8 import Int8
from minilora.quantization.linear import StoredLinear
from minilora.quantization.nf4 import FourBit

IDS = np.array([[3, 1, 4, 1, 5, 9, 2, 6]])
CONFIGS = {
    "nf4": ml.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True),
    "nf4, single": ml.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4"),
    "int8": ml.BitsAndBytesConfig(load_in_8bit=True),
}


@pytest.fixture(params=["llama", "gpt2"])
def folders(request, tmp_path):
    """A base and an adapter beside it."""
    targets = ["q_proj", "down_proj"] if request.param == "llama" else ["c_attn"]
    (tiny_llama() if request.param == "llama" else tiny_gpt2()).save_pretrained(tmp_path / "base")
    model = load_pretrained(tmp_path / "base", quantization_config=CONFIGS["nf4"])
    config = ml.LoraConfig(r=3, lora_alpha=5, target_modules=targets, init_lora_weights=False)
    ml.get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
    return tmp_path


def loaded(folders, name=None):
    options = {"quantization_config": CONFIGS[name]} if name else {}
    return ml.PeftModel.from_pretrained(load_pretrained(folders / "base", **options), folders / "adapter")


def merged(folders, name, how):
    out = folders / how
    found = merge_to_folder(
        loaded(folders, name), out, folders / "base", [folders / "adapter"], how, lambda: loaded(folders)
    )
    return load_pretrained(out), found


@pytest.mark.parametrize("name", CONFIGS)
def test_dequantize_writes_the_function_that_was_trained_in_float32(folders, name):
    trained = loaded(folders, name)(IDS).numpy()
    model, found = merged(folders, name, "dequantize")
    assert not any(isinstance(m, StoredLinear) for _, m in model.named_modules())
    np.testing.assert_allclose(model(IDS).numpy(), trained, atol=1e-3)
    assert found.difference < 1e-3 and found.lost is None


def test_original_writes_the_update_into_the_weights_before_they_were_quantized(folders):
    expected = loaded(folders).merge_and_unload()(IDS).numpy()
    model, found = merged(folders, "nf4", "original")
    np.testing.assert_array_equal(model(IDS).numpy(), expected)
    assert found.difference > 0.1  # the error of the quantization


@pytest.mark.parametrize("name", CONFIGS)
def test_requantize_writes_the_format_that_the_base_had(folders, name):
    model, found = merged(folders, name, "requantize")
    kinds = {type(m.weight.data) for _, m in model.named_modules() if isinstance(m, StoredLinear)}
    assert kinds == {Int8 if name == "int8" else FourBit}
    assert 0 < found.lost.changed < found.lost.codes
    assert 0 < found.lost.survived < 1.2


def test_dequantize_is_nearest_to_what_was_trained(folders):
    differences = {how: merged(folders, "nf4", how)[1].difference for how in HOW}
    assert min(differences, key=differences.get) == "dequantize"


def test_an_update_below_a_step_of_the_codes_is_lost_but_for_the_largest_number_of_a_block(folders):
    model = loaded(folders, "nf4, single")
    for name, p in model.named_parameters():
        if ".lora_B." in name:
            p.data = p.data * np.float32(1e-3)
    _, lost = merge_requantized(model)
    assert lost.changed < 0.01 * lost.codes
    assert lost.survived < 0.3


def test_changed_codes_are_counted_in_both_halves_of_a_byte():
    W = np.random.default_rng(0).standard_normal((2, 64)).astype(np.float32)
    old, new = FourBit.of(W), FourBit.of(W)
    new.packed = old.packed.copy()
    new.packed[0] ^= 0x11
    new.packed[5] ^= 0x30
    assert changed_codes(old, new) == (3, 128)


def test_a_quantized_base_is_not_merged_without_a_choice(folders):
    with pytest.raises(
        ConfigError, match=r"^a base in 4 or 8 bits can be merged in three ways: choose how \(dequantize, "
    ):
        merge_to_folder(loaded(folders, "nf4"), folders / "out", folders / "base", [folders / "adapter"])
    assert not (folders / "out").exists()


@pytest.mark.parametrize(
    "how, line", [("dequantise", "expected dequantize"), ("dequantize", "this one is not quantized")]
)
def test_a_choice_that_does_not_fit_is_refused(folders, how, line):
    with pytest.raises(ConfigError, match=line):
        merge_to_folder(loaded(folders), folders / "out", folders / "base", [folders / "adapter"], how)
