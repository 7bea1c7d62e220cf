"""config.json: what changes the computation is honoured or refused by name; old and new spellings mean the same."""

import dataclasses
import json

import pytest
from checkpoints import GOLDEN, MODELS
from hypothesis import given, settings
from hypothesis import strategies as st

from minilora.errors import ConfigError, FormatError, MiniloraError, MissingFileError
from minilora.models.gpt2 import GPT2Config
from minilora.models.llama import LlamaConfig
from minilora.models.pretrained import config_from_json, config_to_json, model_of, read_config

LLAMA = {
    "model_type": "llama", "vocab_size": 29, "hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip
GPT2 = {"model_type": "gpt2", "vocab_size": 29, "n_embd": 12, "n_layer": 2, "n_head": 3}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def read(base=LLAMA, **changes):
    return config_from_json({k: v for k, v in (base | changes).items() if v is not ...})


def refused(base=LLAMA, error=MiniloraError, **changes):
    with pytest.raises(error) as caught:
        read(base, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_sizes_are_read_under_their_names():
    config = read(head_dim=6, max_position_embeddings=99, rms_norm_eps=1e-5, eos_token_id=[2, 3])
    assert config == LlamaConfig(29, 16, 20, 3, 4, 2, 6, 99, 1e-5, eos_token_id=[2, 3])


def test_what_a_llama_config_leaves_out_is_what_transformers_assumes():
    config = read(num_key_value_heads=...)
    assert (config.num_key_value_heads, config.head_dim, config.rms_norm_eps) == (4, 4, 1e-6)
    assert config.rope_parameters == {"rope_type": "default", "rope_theta": 10000.0}
    assert (config.tie_word_embeddings, config.attention_bias, config.mlp_bias) == (False, False, False)
    assert config.sliding_window is None


def test_what_a_gpt2_config_leaves_out_is_what_transformers_assumes():
    assert read(GPT2) == GPT2Config(29, 12, 2, 3, 1024, 48, 1e-5, True)


@pytest.mark.parametrize("key", ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"])
def test_a_missing_size_is_named(key):
    assert f"{key!r} is missing" in refused(error=FormatError, **{key: ...})


@pytest.mark.parametrize("value", [0, -3, 2.0, "16", True, [16], 2**40])
def test_a_size_that_is_no_positive_whole_number_is_refused(value):
    assert "hidden_size" in refused(error=FormatError, hidden_size=value)


@pytest.mark.parametrize(
    "value", [0, -1e-6, float("nan"), float("inf"), pytest.param(10**400, id="10**400"), "1e-6", True]
)
def test_an_epsilon_that_is_no_positive_number_is_refused(value):
    assert "rms_norm_eps" in refused(error=FormatError, rms_norm_eps=value)


def test_a_million_layers_are_refused_before_any_is_made():
    assert "num_hidden_layers" in refused(num_hidden_layers=10**6)


def test_an_unknown_kind_of_model_is_refused_with_the_nearest_known():
    message = refused(error=ConfigError, model_type="qwen2_moe")
    assert "'qwen2_moe'" in message and "known: qwen2" in message


@pytest.mark.parametrize(
    "change",
    [{"model_type": "x" * 9999}, {"hidden_act": "x" * 9999}, {"rope_scaling": {"rope_type": "x" * 9999}},
     {"vocab_size": "x" * 9999}, {"x_norm" * 9999: 2}, {"partial_rotary_factor": [0] * 9999}],
    ids=lambda change: next(iter(change))[:20],
)  # fmt: skip
def test_a_long_value_is_cut_in_the_error(change):
    assert len(refused(**change)) < 300


def test_a_model_type_that_is_no_name_is_refused():
    assert "model_type" in refused(error=FormatError, model_type=["llama"])


def test_a_config_without_a_model_type_is_refused():
    assert "no model_type" in refused(error=FormatError, model_type=...)


@pytest.mark.parametrize(
    "old, new",
    [
        ({}, {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}),
        ({"rope_theta": 5e5}, {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}),
        ({"rope_theta": 5e5, "rope_scaling": None}, {"rope_parameters": {"rope_theta": 5e5}}),
        ({"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3"} | LLAMA3},
         {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5} | LLAMA3}),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}},
         {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}}),
    ],
    ids=str,
)  # fmt: skip
def test_both_spellings_of_the_rotary_settings_mean_the_same(old, new):
    assert read(**old) == read(**new)


@pytest.mark.parametrize(
    ("rope", "named"),
    [
        ({"type": "dynamic", "factor": 2.0}, "rope_type 'dynamic'"),
        ({"rope_type": "yarn", "factor": 4.0}, "rope_type 'yarn'"),
        ({"rope_type": "longrope"}, "rope_type 'longrope'"),
        ({"type": "su"}, "rope_type 'su'"),
        ({"rope_type": "linear"}, "'factor'"),
        ({"rope_type": "llama3", "factor": 8.0}, "'low_freq_factor'"),
        ({"rope_type": "linear", "factor": 0}, "factor = 0,"),
        ({"rope_type": ["linear"]}, "rope_type = ['linear'],"),
        ({"rope_type": "default", "partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5"),
        ({"rope_type": "default", "mrope_section": [2, 3, 3]}, "'mrope_section'"),
        ({"rope_type": "llama3"} | LLAMA3 | {"attention_factor": 1.3}, "'attention_factor'"),
        ("llama3", "rotary settings are a str"),
        (["linear"], "rotary settings are a list"),
        ({"full_attention": {"rope_theta": 1e4}}, "'full_attention'"),
        ({"rope_type": "llama3"} | LLAMA3 | {"high_freq_factor": 1.0}, "high_freq_factor"),
    ],
    ids=str,
)
def test_rotary_settings_that_are_not_known_are_refused_by_name(rope, named):
    assert named in refused(rope_scaling=rope)


@pytest.mark.parametrize(
    "change",
    [{"hidden_act": "gelu"}, {"hidden_act": "relu"}, {"partial_rotary_factor": 0.5}, {"sliding_window": 4096},
     {"attn_logit_softcapping": 50.0}, {"final_logit_softcapping": 30.0}, {"logit_scale": 0.0625},
     {"attention_multiplier": 0.5}, {"embedding_multiplier": 12.0}, {"residual_multiplier": 0.2},
     {"logits_scaling": 8.0}, {"query_pre_attn_scalar": 256, "attn_scale": 2.0}, {"rope_interleaved": True},
     {"layer_types": ["sliding_attention"] * 3}, {"num_experts": 8}, {"qk_layernorm": True}, {"use_qk_norm": True},
     {"quantization_config": {"load_in_4bit": True}}, {"clip_qkv": 8.0}, {"alibi": True}, {"lm_head_bias": True}],
    ids=str,
)  # fmt: skip
def test_a_llama_key_that_changes_the_computation_is_refused_by_name(change):
    assert any(key in refused(error=ConfigError, **change) for key in change)


@pytest.mark.parametrize(
    "change",
    [{"activation_function": "gelu"}, {"activation_function": "relu"}, {"scale_attn_weights": False},
     {"scale_attn_by_inverse_layer_idx": True}, {"reorder_and_upcast_attn": True}, {"add_cross_attention": True}],
    ids=str,
)  # fmt: skip
def test_a_gpt2_key_that_changes_the_computation_is_refused_by_name(change):
    assert any(key in refused(GPT2, error=ConfigError, **change) for key in change)


@pytest.mark.parametrize(
    "change",
    [{"attention_dropout": 0.1}, {"initializer_range": 0.02}, {"pretraining_tp": 2}, {"use_cache": True},
     {"torch_dtype": "bfloat16"}, {"dtype": "float16"}, {"transformers_version": "4.40.0"}, {"_name_or_path": "x"},
     {"architectures": ["LlamaForCausalLM"]}, {"rope_interleaved": False}, {"is_llama_config": True},
     {"partial_rotary_factor": 1.0}, {"sliding_window": None}, {"attn_logit_softcapping": None}, {"logit_scale": 1.0},
     {"layer_types": ["full_attention"] * 3}, {"transformers.js_config": {"dtype": "q4"}}, {"unsloth_fixed": True}],
    ids=str,
)  # fmt: skip
def test_a_key_that_changes_nothing_is_passed_over(change):
    assert read(**change) == read()


@pytest.mark.parametrize(
    "change",
    [{"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1}, {"n_ctx": 1024}, {"summary_activation": "tanh"},
     {"task_specific_params": {"text-generation": {"do_sample": True}}}, {"activation_function": "gelu_pytorch_tanh"}],
    ids=str,
)  # fmt: skip
def test_what_gpt2_files_on_the_hub_carry_beside_their_sizes_is_passed_over(change):
    assert read(GPT2, **change) == read(GPT2)


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3"])
def test_a_null_for_the_key_value_heads_means_as_many_as_query_heads_in_every_family(kind):
    read_heads = read(model_type=kind, num_attention_heads=4, num_key_value_heads=None).num_key_value_heads
    assert read_heads == 4


def test_a_window_of_mistral_holds_for_every_layer():
    config = read(model_type="mistral", sliding_window=7)
    assert [config.window(i) for i in range(3)] == [7, 7, 7]


def test_mistral_without_a_word_about_its_window_has_the_4096_of_its_first_version_and_null_means_none():
    assert read(model_type="mistral").sliding_window == 4096
    assert read(model_type="mistral", sliding_window=None).sliding_window is None


@pytest.mark.parametrize(
    "change, windows",
    [
        ({"sliding_window": 7}, [None] * 3),
        ({"sliding_window": 7, "use_sliding_window": False, "max_window_layers": 0}, [None] * 3),
        ({"sliding_window": 7, "use_sliding_window": True, "max_window_layers": 1}, [None, 7, 7]),
        ({"sliding_window": 7, "use_sliding_window": True, "max_window_layers": 0}, [7, 7, 7]),
        ({"sliding_window": 7, "use_sliding_window": True}, [None] * 3),  # from layer 28 on
        ({"sliding_window": 7, "use_sliding_window": True,
          "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}, [7, None, 7]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
def test_a_window_of_qwen_holds_where_its_config_says(kind, change, windows):
    config = read(model_type=kind, **change)
    assert [config.window(i) for i in range(3)] == windows
    assert [layer.self_attn.window for layer in model_of(config).model.layers] == windows


@pytest.mark.parametrize("types", [["full_attention"] * 2, ["full_attention"] * 2 + ["chunked_attention"], "full"])
def test_layer_types_that_are_not_one_known_kind_for_each_layer_are_refused(types):
    assert "layer_types" in refused(model_type="qwen3", layer_types=types)


@pytest.mark.parametrize("window, types", [(7, "full_attention"), (None, "sliding_attention")])
def test_layer_types_that_contradict_the_one_window_of_a_mistral_are_refused(window, types):
    assert "layer_types" in refused(model_type="mistral", sliding_window=window, layer_types=[types] * 3)


def test_layer_types_that_say_again_what_the_window_of_a_mistral_says_are_passed_over():
    plain = read(model_type="mistral", sliding_window=7)
    assert read(model_type="mistral", sliding_window=7, layer_types=["sliding_attention"] * 3) == plain


def names_of(config):
    return {n.removeprefix("model.layers.0.self_attn.") for n, _ in model_of(config).named_parameters()}


@pytest.mark.parametrize(
    "kind, change, present, absent",
    [
        ("llama", {}, (), ("q_proj.bias", "o_proj.bias", "q_norm.weight")),
        ("llama", {"attention_bias": True}, ("q_proj.bias", "k_proj.bias", "v_proj.bias", "o_proj.bias"), ()),
        ("qwen2", {}, ("q_proj.bias", "k_proj.bias", "v_proj.bias"), ("o_proj.bias", "q_norm.weight")),
        ("qwen3", {}, ("q_norm.weight", "k_norm.weight"), ("q_proj.bias", "o_proj.bias")),
        ("qwen3", {"attention_bias": True}, ("q_norm.weight", "q_proj.bias", "o_proj.bias"), ()),
        ("mistral", {}, (), ("q_proj.bias", "q_norm.weight")),
    ],
)
def test_biases_and_norms_stand_where_the_family_has_them(kind, change, present, absent):
    names = names_of(read(model_type=kind, **change))
    assert names.issuperset(present) and names.isdisjoint(absent)


CONFIGS = [
    read(rope_scaling={"rope_type": "llama3"} | LLAMA3, rope_theta=5e5, tie_word_embeddings=True, mlp_bias=True),
    read(model_type="mistral", sliding_window=5, head_dim=6),
    read(model_type="mistral", sliding_window=None),
    read(model_type="qwen2", tie_word_embeddings=True),
    read(model_type="qwen2", use_sliding_window=True, sliding_window=5, max_window_layers=2),
    read(model_type="qwen3", use_sliding_window=True, sliding_window=5, max_window_layers=0, attention_bias=True),
    read(GPT2, n_inner=20, tie_word_embeddings=False, eos_token_id=3),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.model_type)
def test_a_config_that_is_written_says_the_same_when_read(config):
    assert config_from_json(json.loads(json.dumps(config_to_json(config)))) == config


@pytest.mark.parametrize("change", [{"qk_norm": True}, {"qkv_bias": True}, {"sliding_window": 4}])
def test_a_config_that_its_model_type_cannot_store_is_not_written(change):
    config = dataclasses.replace(read(), **change)
    with pytest.raises(
        ConfigError, match=f"{next(iter(change))} cannot be stored in a config.json of model_type 'llama'"
    ):
        config_to_json(config)


def test_a_config_file_is_named_in_the_error(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with pytest.raises(ConfigError, match="config.json: model_type 'bert'"):
        read_config(tmp_path / "config.json")


def test_a_missing_config_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match="config.json"):
        read_config(tmp_path / "config.json")


REAL = {name: json.loads((GOLDEN / name / "base" / "config.json").read_text(encoding="utf-8")) for name in MODELS}
odd = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 2**70), st.floats(), st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
    st.sampled_from(["default", "linear", "llama3", "yarn", "silu", {"rope_type": 3}, {"type": []}, [[]], {"a": {}}]),
)  # fmt: skip


@settings(max_examples=200)
@given(st.sampled_from(MODELS), st.data())
def test_any_value_under_any_key_makes_a_config_or_an_error_of_one_line(name, data):
    config = dict(REAL[name])
    for key in data.draw(st.lists(st.sampled_from([*config, "rope_scaling", "rope_theta", "head_dim"]), max_size=3)):
        if key == "rope_parameters" and key in REAL[name] and data.draw(st.booleans()):
            config[key] = REAL[name][key] | {data.draw(st.sampled_from([*REAL[name][key]])): data.draw(odd)}
        else:
            config[key] = data.draw(odd)
    try:
        made = config_from_json(config)
    except MiniloraError as error:
        assert "\n" not in str(error)
    else:
        assert made.vocab_size == config["vocab_size"]
