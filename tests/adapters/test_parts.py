"""PiSSA and OLoRA on a base in 4 or 8 bits: the start is taken while the base is loaded, and the rest is quantized."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from tiny import random_ids, tiny_gpt2, tiny_llama

import minilora as ml
from minilora.combining.quantized import merge_dequantized, merge_requantized
from minilora.errors import ConfigError
from minilora.methods.pissa import principal_part
from minilora.quantization.nf4 import FourBit
from minilora.quantization.residual import Residual

NF4 = ml.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
INT8 = ml.BitsAndBytesConfig(load_in_8bit=True)
IDS = random_ids()
STARTS = ("pissa", "pissa_niter_4", "olora")
PATH = "model.layers.1.self_attn.q_proj"
each = pytest.mark.parametrize("start", STARTS)
both = pytest.mark.parametrize("quantization", [NF4, INT8], ids=["nf4", "int8"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny_llama(hidden_size=64, intermediate_size=96).save_pretrained(folder)
    return folder


def config_of(start, **options):
    options = {"r": 3, "lora_alpha": 5, "target_modules": ["q_proj", "down_proj"]} | options
    return ml.LoraConfig(init_lora_weights=start, **options)


def loaded(folder, quantization, config):
    return ml.load_pretrained(folder, quantization_config=quantization, parts=ml.parts_of(config))


def tuned(folder, quantization, config):
    """A model whose adapter has learned something."""
    model = ml.get_peft_model(loaded(folder, quantization, config), config)
    rng = np.random.default_rng(0)
    for p in model.parameters():
        if p.requires_grad:
            p.data = p.data + 0.05 * rng.standard_normal(p.shape).astype(np.float32)
    return model


@each
@both
def test_the_start_is_that_of_the_base_in_float32(folder, quantization, start):
    config = config_of(start)
    models = [
        ml.get_peft_model(base, config) for base in (ml.load_pretrained(folder), loaded(folder, quantization, config))
    ]
    expected, found = ({n: p.data for n, p in m.named_parameters() if ".lora_" in n} for m in models)
    assert expected.keys() == found.keys() and expected
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-6, err_msg=name)


def test_what_is_quantized_is_the_weight_without_its_largest_singular_values(folder):
    config = config_of("pissa")
    weight = loaded(folder, NF4, config).get_submodule(PATH).weight.data
    W = ml.load_pretrained(folder).get_submodule(PATH).dense()
    U, S, Vt = principal_part(W, 3)
    rest = FourBit.of(W - (U * S) @ Vt, double=True)
    np.testing.assert_allclose(weight.rest.dense(), rest.dense(), atol=2e-3 * abs(W).max())
    np.testing.assert_allclose(weight.dense(), rest.dense() + (U * S) @ Vt, atol=2e-3 * abs(W).max())


@both
def test_only_the_adapted_layers_have_a_part(folder, quantization):
    base = loaded(folder, quantization, config_of("pissa", target_modules=["q_proj", "lm_head"]))
    apart = [
        path
        for path, m in base.named_modules()
        if isinstance(getattr(getattr(m, "weight", None), "data", None), Residual)
    ]
    assert apart == ["model.layers.0.self_attn.q_proj", PATH]  # the head is not quantized


@each
def test_disable_adapter_gives_the_base_that_was_loaded_and_so_does_the_first_step(folder, start):
    config = config_of(start)
    base = loaded(folder, NF4, config)(IDS).numpy()
    model = tuned(folder, NF4, config)
    with model.disable_adapter():
        np.testing.assert_array_equal(model(IDS).numpy(), base)
    fresh = ml.get_peft_model(loaded(folder, NF4, config), config)
    np.testing.assert_allclose(fresh(IDS).numpy(), base, atol=2e-5)
    assert abs(model(IDS).numpy() - base).max() > 1e-2


@each
@both
def test_gradients_are_those_on_the_dequantized_base(folder, quantization, start):
    config = config_of(start)
    plain, stored = ml.load_pretrained(folder), tuned(folder, quantization, config)
    for path, m in plain.named_modules():
        if path.endswith("_proj"):
            layer = stored.get_base_model().get_submodule(path)
            m.replace_weight(getattr(layer, "base_layer", layer).dense())
    dense = ml.get_peft_model(plain, config)
    for path, method in stored.base_model.adapters["default"].methods.items():
        twin = dense.base_model.adapters["default"].methods[path]
        for ours, theirs in ((twin.parameters, method.parameters), (twin.frozen, method.frozen)):
            for tensor, p in ours.items():
                p.data = theirs[tensor].data.copy()
    for model in (dense, stored):
        model.train().loss(IDS, IDS).backward()
    expected, found = ({n: p.grad for n, p in m.named_parameters() if p.requires_grad} for m in (dense, stored))
    assert expected.keys() == found.keys() and expected
    for name, g in expected.items():
        np.testing.assert_allclose(found[name], g, atol=2e-5 * max(1, abs(g).max()), err_msg=name)


@each
@both
def test_what_is_saved_adds_to_the_base_before_its_quantization_what_was_learned(folder, tmp_path, quantization, start):
    model = tuned(folder, quantization, config_of(start))
    model.save_pretrained(tmp_path)
    pristine = ml.PeftModel.from_pretrained(ml.load_pretrained(folder), tmp_path)
    assert pristine.peft_config["default"].r == 6
    W = ml.load_pretrained(folder).get_submodule(PATH).dense()
    learned = model.base_model.adapters["default"].methods[PATH]
    change = learned.scaling * (learned.B.data @ learned.A.data - learned.B0.data @ learned.A0.data)
    merged = pristine.merge_and_unload().get_submodule(PATH).dense()
    np.testing.assert_allclose(merged, W + change, atol=1e-5)


@each
def test_merged_and_dequantized_it_is_the_function_that_was_trained(folder, start):
    model = tuned(folder, NF4, config_of(start))
    apart = model(IDS).numpy()
    model.merge_adapter()
    np.testing.assert_allclose(model(IDS).numpy(), apart, atol=1e-4)
    model.unmerge_adapter()
    np.testing.assert_array_equal(model(IDS).numpy(), apart)
    np.testing.assert_allclose(merge_dequantized(model)(IDS).numpy(), apart, atol=1e-4)


def test_merged_and_quantized_again_it_is_in_4_bits_without_a_part(folder, tmp_path):
    plain, lost = merge_requantized(tuned(folder, NF4, config_of("pissa")))
    assert isinstance(plain.get_submodule(PATH).weight.data, FourBit)
    assert 0 < lost.changed <= lost.codes and lost.survived > 0.5
    plain.save_pretrained(tmp_path)
    np.testing.assert_allclose(ml.load_pretrained(tmp_path)(IDS).numpy(), plain(IDS).numpy(), atol=1e-5)


def test_a_base_with_parts_is_not_written_as_a_checkpoint(folder, tmp_path):
    base = loaded(folder, NF4, config_of("pissa"))
    with pytest.raises(ConfigError, match="has a part in float32 beside its codes.*save the adapter"):
        base.save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("other, said", [
    ({"r": 2}, r"loaded for init_lora_weights 'pissa', rank 3, scale 1.66667, not for .*'pissa', rank 2, scale 2.5"),
    ({"lora_alpha": 7}, "rank 3, scale 2.33333: use one config for both"),
    ({"start": "olora"}, "not for init_lora_weights 'olora', rank 3"),
])  # fmt: skip
def test_a_base_that_was_loaded_for_another_start_is_refused(folder, other, said):
    base = loaded(folder, NF4, config_of("pissa"))
    with pytest.raises(ConfigError, match=said):
        ml.get_peft_model(base, config_of(**{"start": "pissa"} | other))


def test_a_layer_that_was_loaded_without_a_part_is_refused(folder):
    base = loaded(folder, NF4, config_of("pissa", target_modules=["q_proj"]))
    with pytest.raises(ConfigError, match=r"not quantized yet, and these are in 4 or 8 bits.*parts=ml.parts_of"):
        ml.get_peft_model(base, config_of("pissa"))


def test_other_adapters_work_on_a_base_with_parts(folder):
    model = tuned(folder, NF4, config_of("pissa"))
    with model.disable_adapter():
        base = model(IDS).numpy()
    model.add_adapter("plain", config_of(True))
    model.set_adapter("plain")
    np.testing.assert_allclose(model(IDS).numpy(), base, atol=1e-5)


def test_a_config_of_another_method_takes_nothing_from_the_base(folder):
    base = loaded(folder, NF4, config_of(True))
    assert isinstance(base.get_submodule(PATH).weight.data, FourBit)


def test_without_quantization_the_base_is_as_it_is(folder):
    base = loaded(folder, None, config_of("pissa"))
    np.testing.assert_array_equal(
        base.get_submodule(PATH).dense(), ml.load_pretrained(folder).get_submodule(PATH).dense()
    )


def test_conv1d_of_gpt2_is_decomposed_as_out_times_in(tmp_path):
    tiny_gpt2().save_pretrained(tmp_path)
    config = ml.LoraConfig(r=2, lora_alpha=3, init_lora_weights="pissa", target_modules=["c_attn"])
    model = ml.get_peft_model(loaded(tmp_path, NF4, config), config)
    plain = ml.get_peft_model(ml.load_pretrained(tmp_path), dataclasses.replace(config, fan_in_fan_out=True))
    for name, p in plain.named_parameters():
        if ".lora_" in name:
            np.testing.assert_allclose(dict(model.named_parameters())[name].data, p.data, atol=1e-6)
    path = "transformer.h.0.attn.c_attn"
    W, stored = (m.get_base_model().get_submodule(path).base_layer.dense() for m in (plain, model))
    assert 0 < abs(stored - W).max() < 0.1 * abs(W).max()


@each
@pytest.mark.slow
def test_memory_holds_the_parts_of_one_matrix_at_a_time(tmp_path, start):
    tiny_llama(hidden_size=256, intermediate_size=704, num_hidden_layers=3).save_pretrained(tmp_path)
    config = config_of(start, target_modules="all-linear")
    loaded(tmp_path, NF4, config)  # what is loaded at first use
    one = np.random.default_rng(0).standard_normal((704, 256), dtype=np.float32)
    parts = passing_memory(lambda: np.linalg.svd(one, full_matrices=False))  # NumPy 2.5 counts LAPACK's memory, too
    assert passing_memory(lambda: loaded(tmp_path, NF4, config)) < parts + 3 * one.nbytes  # the model has 21 matrices


def passing_memory(make) -> int:
    """Bytes that `make` needs at most, beyond those of its result."""
    tracemalloc.start()
    try:
        made = make()
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert made
    return peak - now


def test_a_wrong_target_is_refused_before_a_weight_is_read(folder):
    with pytest.raises(ConfigError, match="q_prox"):
        loaded(folder, NF4, config_of("pissa", target_modules=["q_prox"]))
