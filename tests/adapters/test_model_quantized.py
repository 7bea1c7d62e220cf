"""QLoRA: adapters on a base in 4, 8 or 16 bits. The truth is the same adapter on the base's dequantized weights."""

import tracemalloc

import numpy as np
import pytest
from tiny import tiny_gpt2, tiny_llama

import minilora as ml
from minilora.errors import ConfigError
from minilora.files.safetensors import read_tensors, write_tensors
from minilora.models.pretrained import load_pretrained
from minilora.nn import Linear
from minilora.quantization.linear import StoredLinear

NF4 = ml.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
INT8 = ml.BitsAndBytesConfig(load_in_8bit=True)
STORED = {"nf4": {"quantization_config": NF4}, "int8": {"quantization_config": INT8}, "bf16": {"dtype": "bfloat16"}}
LORA = {"r": 3, "lora_alpha": 5, "target_modules": ["q_proj", "v_proj", "down_proj"]}
CONFIGS = {
    "lora": lambda: ml.LoraConfig(**LORA, init_lora_weights=False),
    "lora, dropout": lambda: ml.LoraConfig(**LORA, init_lora_weights=False, lora_dropout=0.3),
    "dora": lambda: ml.LoraConfig(**LORA, init_lora_weights=False, use_dora=True),
    "dora, dropout": lambda: ml.LoraConfig(**LORA, init_lora_weights=False, use_dora=True, lora_dropout=0.3),
    "ia3": lambda: ml.IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
    "vera": lambda: ml.VeraConfig(r=4, target_modules=["q_proj"]),
    "adalora": lambda: ml.AdaLoraConfig(total_step=10, target_modules=["q_proj", "v_proj"]),
    "prefix": lambda: ml.PrefixTuningConfig(num_virtual_tokens=3),
    "prompt": lambda: ml.PromptTuningConfig(num_virtual_tokens=3),
    "modules_to_save": lambda: ml.LoraConfig(**LORA, modules_to_save=["o_proj", "lm_head"]),
}
IDS = np.array([[3, 1, 4, 1, 5, 9, 2, 6]])


@pytest.fixture(scope="module", params=STORED)
def pair(request, tmp_path_factory):
    """A function that loads a stored base, and one that loads its dequantized weights in float32."""
    folder = tmp_path_factory.mktemp(request.param)
    tiny_llama().save_pretrained(folder / "base")

    def stored():
        return load_pretrained(folder / "base", **STORED[request.param])

    def dense():
        model, other = load_pretrained(folder / "base"), stored()
        for (_, p), (_, q) in zip(model.named_parameters(), other.named_parameters(), strict=True):
            p.data = q.numpy().copy()
        return model

    return stored, dense


def gradients(model, config):
    model = ml.get_peft_model(model, config(), seed=4).train()
    model.loss(IDS, IDS, rng=np.random.default_rng(0)).backward()
    found = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    return model.eval()(IDS).numpy(), found


@pytest.mark.parametrize("method", CONFIGS)
def test_values_and_gradients_are_those_on_the_dequantized_base(pair, method):
    (ours, found), (logits, expected) = (gradients(load(), CONFIGS[method]) for load in pair)
    np.testing.assert_allclose(ours, logits, atol=5e-5)
    assert found.keys() == expected.keys() and found
    for name, g in expected.items():
        np.testing.assert_allclose(found[name], g, atol=2e-5 * max(1, abs(g).max()), err_msg=name)


def test_an_adapter_merged_and_unmerged_leaves_the_base_as_it_was(pair):
    model = ml.get_peft_model(pair[0](), CONFIGS["dora"](), seed=4)
    with model.disable_adapter():
        base = model(IDS).numpy()
    apart = model(IDS).numpy()
    model.merge_adapter()
    np.testing.assert_allclose(model(IDS).numpy(), apart, atol=5e-5)
    model.unmerge_adapter()
    np.testing.assert_array_equal(model(IDS).numpy(), apart)
    with model.disable_adapter():
        np.testing.assert_array_equal(model(IDS).numpy(), base)


def test_all_linear_means_the_same_layers_as_on_a_float32_base(pair):
    models = [ml.get_peft_model(load(), ml.LoraConfig(target_modules="all-linear")) for load in pair]
    ours, theirs = (set(m.peft_config["default"].target_modules) for m in models)
    assert ours == theirs and len(ours) == 7


def test_an_adapter_that_was_trained_on_a_stored_base_is_known_on_the_float32_base(tmp_path):
    tiny_llama().save_pretrained(tmp_path / "base")
    names = {ml.PeftModel(load_pretrained(tmp_path / "base", **options)).base_model.fingerprint()
             for options in ({}, *STORED.values())}  # fmt: skip
    assert len(names) == 1


def test_a_copy_of_a_quantized_module_is_a_float32_one_with_the_dequantized_weight(pair):
    base = pair[0]()
    W = base.get_submodule("model.layers.0.self_attn.o_proj").dense()
    model = ml.get_peft_model(base, CONFIGS["modules_to_save"]())
    copies = [p for n, p in model.named_parameters() if "layers.0" in n and ".o_proj." in n and p.requires_grad]
    assert [p.data.dtype for p in copies] == [np.float32]
    np.testing.assert_array_equal(copies[0].data, W)


@pytest.mark.parametrize("init", ["pissa", "pissa_niter_4", "olora"])
@pytest.mark.parametrize("quantize", ["nf4", "int8"])
def test_starts_from_the_weights_of_the_base_are_refused_on_a_base_that_was_quantized_without_them(
    tmp_path, quantize, init
):
    tiny_llama().save_pretrained(tmp_path)
    model = load_pretrained(tmp_path, **STORED[quantize])
    with pytest.raises(
        ConfigError, match="^PiSSA and OLoRA start from weights that are not quantized yet, and these are in 4 or 8"
    ):
        ml.get_peft_model(model, ml.LoraConfig(**LORA, init_lora_weights=init))


def test_an_adapter_of_gpt2_that_says_fan_in_fan_out_is_accepted(tmp_path):
    tiny_gpt2().save_pretrained(tmp_path / "base")
    plain = ml.get_peft_model(
        load_pretrained(tmp_path / "base"), ml.LoraConfig(fan_in_fan_out=True, init_lora_weights=False)
    )
    plain.save_pretrained(tmp_path / "adapter")
    model = ml.PeftModel.from_pretrained(
        load_pretrained(tmp_path / "base", quantization_config=INT8), tmp_path / "adapter"
    )
    assert model.peft_config["default"].fan_in_fan_out is False
    assert abs(model(IDS).numpy() - plain(IDS).numpy()).max() < 2


def test_a_merged_gpt2_that_was_in_4_bits_is_saved_with_its_own_orientation(tmp_path):
    tiny_gpt2().save_pretrained(tmp_path / "base")
    model = load_pretrained(tmp_path / "base", quantization_config=NF4)
    model = ml.get_peft_model(model, ml.LoraConfig(target_modules=["c_attn"], init_lora_weights=False))
    apart = model(IDS).numpy()
    model.merge_and_unload().save_pretrained(tmp_path / "merged")  # c_attn in float32, the rest in 4 bits
    again = load_pretrained(tmp_path / "merged")
    assert any(isinstance(m, StoredLinear) for _, m in again.named_modules())
    np.testing.assert_allclose(again(IDS).numpy(), apart, atol=5e-4)


def test_nothing_of_the_size_of_a_weight_in_float32_stays_between_forward_and_backward(tmp_path):
    big = tiny_llama(hidden_size=256, intermediate_size=512, num_hidden_layers=1)
    big.save_pretrained(tmp_path)
    model = load_pretrained(tmp_path, quantization_config=NF4)
    model = ml.get_peft_model(model, ml.LoraConfig(target_modules="all-linear", init_lora_weights=False, use_dora=True))
    tracemalloc.start()
    try:
        loss = model.loss(IDS[:, :3], IDS[:, :3])
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    smallest = min(
        4 * m.weight.size for _, m in model.named_modules() if isinstance(m, Linear) and m.weight.size > 8000
    )
    assert loss.requires_grad and kept < 1.5 * smallest  # activations and norms of 3 tokens: about a third of it


def test_a_quantized_base_with_a_file_of_another_precision_keeps_its_fingerprint(tmp_path):
    tiny_llama().save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    write_tensors(file, {n: a.astype(np.float16) for n, a in read_tensors(file).items()})
    names = {
        ml.PeftModel(load_pretrained(tmp_path, **options)).base_model.fingerprint() for options in ({}, STORED["nf4"])
    }
    assert len(names) == 1
