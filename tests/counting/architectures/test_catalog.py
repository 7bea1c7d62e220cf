"""What a person may get wrong when asking for a count: one clear line each, never a guess."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilora.counting.architectures.catalog import FAMILIES, from_config, load
from minilora.counting.architectures.presets import PRESETS
from minilora.counting.count import count
from minilora.errors import ConfigError, FormatError, MiniloraError, MissingFileError, UnknownNameError


@pytest.mark.parametrize(
    ("name", "near"), [("llama-3-8", "llama-3-8b"), ("gtp2", "gpt2"), ("meta-llama/Llama-3.1-8-it", "llama-3.1-8b")]
)
def test_an_unknown_model_lists_the_near_ones(name, near):
    with pytest.raises(UnknownNameError, match=near):
        load(name)


@pytest.mark.parametrize("name", ["4096 x 1024", "4096X1024", "4096×1024"])
def test_a_matrix_may_be_written_as_on_a_slide(name):
    assert load(name).base == 4096 * 1024


@pytest.mark.parametrize("name", ["a" * 5000, "a" * 5000 + "/config.json", "a\0b"])
def test_a_path_that_no_file_system_takes_is_one_line(name):
    with pytest.raises(MiniloraError) as error:
        load(name)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_a_file_that_cannot_be_read_is_one_line():
    if not Path("/proc/self/mem").is_file():
        pytest.skip("no such file on this system")
    with pytest.raises(MiniloraError, match="cannot read /proc/self/mem"):
        load("/proc/self/mem")


def test_a_preset_may_be_written_in_capitals():
    assert load("Llama-3-8B").base == load("llama-3-8b").base


def test_a_missing_config_file_is_named():
    with pytest.raises(MissingFileError, match="nowhere/config.json"):
        load("nowhere/config.json")


@pytest.mark.parametrize("kind", ["rwkv", "mamba", "deepseek_v3", "", 7, ["llama"]])
def test_an_unknown_architecture_is_named_with_what_is_supported(kind):
    with pytest.raises(ConfigError, match="not supported; supported are llama, mistral, .*t5"):
        from_config({"model_type": kind}, "config.json")


@pytest.mark.parametrize(
    ("kind", "near"),
    [
        ("gemma4", "gemma, gemma3, gemma2, gemma3_text"),
        ("llama4", "llama"),
        ("qwen3_5", "qwen3, "),
        ("phimoe", "phi, phi3"),
    ],
)
def test_an_architecture_that_is_like_a_supported_one_names_that_one(kind, near):
    with pytest.raises(ConfigError, match=f"model_type '{kind}' is not supported; the nearest are {near}"):
        from_config({"model_type": kind}, "config.json")


def test_a_config_without_an_architecture_is_refused():
    with pytest.raises(FormatError, match="no model_type"):
        from_config({"hidden_size": 8}, "config.json")


@pytest.mark.parametrize("rank", [0, -3, True, 2.0, "8", 2**31])
def test_a_rank_that_is_no_positive_whole_number_is_refused(rank):
    with pytest.raises(ConfigError, match="rank .*expected a whole number of 1 to 2,147,483,647"):
        count(load("gpt2"), "c_attn", rank)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ("q_prj", r"no module matches target 'q_prj'; the model has: q_proj"),
        ("q_proj,w_proj", r"no module matches target 'w_proj'"),
        (r"model\.layers\.40\..*", r"no module matches target_modules .*regular expression for the whole path"),
        (r"self_attn\.q_proj", r"no module matches target_modules .* \(a regular expression for the whole path"),
        ("input_layernorm", r"matches model.layers.0.input_layernorm, which is no linear layer"),
        (r".*self_attn", r"matches model.layers.0.self_attn, which is no linear layer"),
        (r"(q_proj", r"expected a list of names or a regular expression"),
        (" ", "no target is named"),
    ],
)
def test_targets_that_match_nothing_or_the_wrong_thing_are_refused_with_the_reason(targets, said):
    with pytest.raises(ConfigError, match=said):
        count(load("llama-3-8b"), targets, 8)


def test_a_rank_above_the_smaller_side_is_counted_with_a_note():
    made = count(load("20x6"), "all-linear", 9)
    assert made.trainable == 9 * 26
    assert "rank 9 is above the smaller side of 1 of 1 matrices" in made.notes[0]
    assert count(load("20x6"), "all-linear", 6).notes == []


def test_a_tied_head_and_a_saved_embedding_are_noted():
    notes = " ".join(count(load("gpt2"), "lm_head,wte", 4).notes)
    assert "PEFT also saves the base weight" in notes
    assert "untie" in notes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden_size": None}, "'hidden_size' is missing"),
        ({"hidden_size": 0}, "hidden_size = 0, expected a whole number"),
        ({"hidden_size": "4096"}, "hidden_size = '4096', expected a whole number"),
        ({"hidden_size": "a\nb"}, r"hidden_size = 'a\\nb', expected a whole number"),
        ({"hidden_size": float("nan")}, "hidden_size = nan, expected a whole number"),
        ({"num_key_value_heads": 3}, "num_attention_heads 32 is not a multiple of num_key_value_heads 3"),
        ({"num_key_value_heads": 64}, "num_attention_heads 32 is not a multiple of num_key_value_heads 64"),
        ({"hidden_size": 4097}, "not a multiple of num_attention_heads"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers = 1000000000, expected a whole number of 1 to 10,000"),
        ({"n_layer": 31}, "num_hidden_layers = 32 and n_layer = 31 disagree"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings = 'yes', expected true or false"),
    ],
)
def test_a_number_that_cannot_be_is_named(change, said):
    config = {key: value for key, value in (PRESETS["llama-3-8b"] | change).items() if value is not None}
    with pytest.raises(MiniloraError, match=said):
        from_config(config, "config.json")


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention = True is not supported"),
        ("roberta-base", {"add_cross_attention": True}, "add_cross_attention = True is not supported"),
        ("deberta-v2-xlarge", {"conv_groups": 2}, "conv_groups = 2 is not supported"),
        (
            "deberta-v2-xlarge",
            {"attention_head_size": 32},
            "24 heads of attention_head_size 32 are not hidden_size 1536",
        ),
        ("deberta-v2-xlarge", {"share_att_key": False, "pos_att_type": 7}, "pos_att_type = 7, expected"),
    ],
)
def test_what_would_be_counted_wrongly_is_refused(name, change, said):
    with pytest.raises(MiniloraError, match=said):
        from_config(PRESETS[name] | change, "config.json")


def test_both_spellings_of_a_size_mean_the_same():
    new = {"model_type": "gpt2", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
           "max_position_embeddings": 1024, "vocab_size": 50257}  # fmt: skip
    assert from_config(new, "config.json").base == load("gpt2").base


def test_a_file_that_is_no_config_is_refused(tmp_path):
    for name, text, line in (
        ("a.json", "[1]", "expected a JSON object"),
        ("b.json", "{", "not JSON"),
        ("c.json", "", "not JSON"),
        ("d.json", json.dumps({"x": 1}), "no model_type"),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(FormatError, match=line):
            load(str(tmp_path / name))


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 2**40), st.floats(), st.text(max_size=5), st.lists(st.integers()),
    st.dictionaries(st.text(max_size=3), st.integers()),
)  # fmt: skip


@given(st.data())
def test_a_damaged_config_is_counted_or_refused_in_one_line(data):
    name = data.draw(st.sampled_from(["gpt2", "llama-3.2-1b", "opt-350m", "t5-small", "deberta-v2-xlarge", "phi-2"]))
    config = copy.deepcopy(PRESETS[name])
    keys = sorted({*config, "share_att_key", "pos_att_type", "head_dim", "num_key_value_heads", "feed_forward_proj"})
    for key in data.draw(st.lists(st.sampled_from(keys), min_size=1, max_size=4)):
        config[key] = data.draw(JUNK)
    try:
        assert count(from_config(config, "config.json"), "all-linear", 2).trainable > 0
    except MiniloraError as error:
        assert "\n" not in str(error)


def test_every_family_says_which_class_it_counts():
    assert FAMILIES
    for family in FAMILIES.values():
        assert family.model_class
        assert family.targets


def test_a_model_inside_another_is_checked_by_its_own_name():
    config = PRESETS["gemma-3-4b"]
    damaged = config | {"text_config": config["text_config"] | {"hidden_size": 0}}
    with pytest.raises(FormatError, match="config.json: text_config: hidden_size = 0, expected a whole number"):
        from_config(damaged, "config.json")
    with pytest.raises(FormatError, match=r"vision_config = \[1\], expected an object"):
        from_config(config | {"vision_config": [1]}, "config.json")


def test_what_a_text_config_leaves_out_is_assumed_as_transformers_does():
    text = {key: PRESETS["gemma-3-4b"]["text_config"][key] for key in ("hidden_size", "intermediate_size")}
    silent = PRESETS["gemma-3-4b"] | {"text_config": text | {"num_hidden_layers": 34, "model_type": "gemma3_text"}}
    assert from_config(silent, "config.json").base == load("gemma-3-4b").base
