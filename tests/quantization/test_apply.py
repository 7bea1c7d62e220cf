"""Which modules of a model are stored in fewer bits."""

import pytest
from tiny import empty_llama, tiny_gpt2

from minilora.errors import ConfigError
from minilora.nn import Linear
from minilora.quantization.apply import quantized_layers, store_weights, stored_config
from minilora.quantization.config import BitsAndBytesConfig
from minilora.quantization.linear import StoredEmbedding, StoredLinear, StoredParameter


def config(**fields):
    return BitsAndBytesConfig(**{"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"} | fields)


def stored(model):
    return {path for path, m in model.named_modules() if isinstance(m, StoredLinear | StoredEmbedding)}


def linear(model):
    return {path for path, m in model.named_modules() if isinstance(m, Linear)}


def test_4_bits_are_for_every_linear_layer_but_the_head():
    model = empty_llama()
    store_weights(model, config(), "float32")
    assert stored(model) == linear(model) - {"lm_head"} and len(stored(model)) == 14


def test_layers_of_gpt2_are_stored_with_a_row_for_each_output():
    model = tiny_gpt2()
    store_weights(model, config(), "float32")
    weight = model.transformer.h[0].attn.c_attn.weight
    assert weight.shape == (36, 12) and weight.shape_in_file == (12, 36)


def test_skipped_modules_are_named_by_their_end_or_their_beginning():
    layers = quantized_layers(empty_llama(), config(llm_int8_skip_modules=["q_proj", "model.layers.1"]))
    assert "lm_head" in layers  # as in transformers: a list replaces the default
    assert sorted(p for p in layers if "layers.0" in p) == [
        f"model.layers.0.{p}"
        for p in (
            "mlp.down_proj",
            "mlp.gate_proj",
            "mlp.up_proj",
            "self_attn.k_proj",
            "self_attn.o_proj",
            "self_attn.v_proj",
        )
    ]
    assert not any("layers.1" in p for p in layers)


def test_a_skipped_name_that_matches_nothing_is_refused():
    with pytest.raises(ConfigError, match="^llm_int8_skip_modules 'q_prj' matches no module: q_proj, "):
        quantized_layers(empty_llama(), config(llm_int8_skip_modules=["q_prj"]))


def test_16_bits_are_for_every_matrix_and_a_tied_head_stays_tied():
    model = empty_llama(tie_word_embeddings=True)
    store_weights(model, None, "bfloat16")
    assert stored(model) == linear(model) | {"model.embed_tokens"}
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert not isinstance(model.model.norm.weight, StoredParameter)


def test_float32_without_a_config_changes_nothing():
    model = empty_llama()
    store_weights(model, None, "float32")
    assert not stored(model)


def test_a_config_is_written_for_what_is_quantized_now():
    model = empty_llama()
    assert stored_config(model, config()) is None
