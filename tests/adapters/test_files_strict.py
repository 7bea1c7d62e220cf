"""What an adapter folder may not be: every refusal names its reason in one line, and nothing is loaded halfway."""

import shutil

import numpy as np
import pytest
from peft_cases import GOLDEN, Q0, ROOT, edit_config, edit_tensors, load, saved
from tiny import random_ids, tiny_llama, with_lora

from minilora import IA3Config, PromptTuningConfig, get_peft_model
from minilora.errors import ConfigError, FormatError, MissingFileError

IDS = random_ids()


@pytest.fixture
def folder(tmp_path):
    """A saved adapter with r 3, alpha 5 on q_proj."""
    saved(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("bias", "all"), ("bias", "lora_only"),
        ("target_parameters", ["x"]), ("layer_replication", [[0, 1]]),
        ("alora_invocation_tokens", [3]), ("arrow_config", {"top_k": 1}), ("use_qalora", True),
        ("use_bdlora", {"nblocks": 2}), ("kasa_config", {"beta": 1}), ("monteclora_config", {"n": 1}),
        ("velora_config", {"scale": 1}), ("megatron_config", {"a": 1}), ("ensure_weight_tying", True),
        ("init_lora_weights", "pissa"), ("init_lora_weights", "pissa_niter_4"), ("init_lora_weights", "olora"),
        ("init_lora_weights", "corda"), ("init_lora_weights", "loftq"), ("init_lora_weights", "lora_ga"),
        ("init_lora_weights", "mica"), ("peft_type", "LOHA"), ("peft_type", "lora"),
        ("a_key_of_next_year", "on"), ("a_key_of_next_year", 0.5),
    ],
)  # fmt: skip
def test_a_feature_that_is_not_supported_is_refused_by_its_name(folder, key, value):
    edit_config(folder, **{key: value})
    with pytest.raises(ConfigError, match=key):
        load(folder)


@pytest.mark.parametrize("init", ["pissa", "pissa_niter_16", "olora", "corda", "PiSSA"])
def test_an_adapter_whose_start_changed_its_base_says_how_to_convert_it(folder, init):
    edit_config(folder, init_lora_weights=init)
    with pytest.raises(ConfigError, match="changed the base.*path_initial_model_for_weight_conversion"):
        load(folder)


@pytest.mark.parametrize("value", [None, False, [], {}, ""])
def test_an_unknown_key_that_is_off_is_passed_over(folder, value):
    edit_config(folder, a_key_of_next_year=value)
    load(folder)


@pytest.mark.parametrize("key", ["lora_alpha", "r", "peft_type", "target_modules"])
@pytest.mark.parametrize("how", ["absent", "null"])
def test_a_missing_key_is_an_error_and_not_a_default(folder, key, how):
    edit_config(folder, remove=[key], **({key: None} if how == "null" else {}))
    with pytest.raises(FormatError, match=f"{key} missing"):
        load(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("r", "8"), ("r", 0), ("lora_alpha", "16"), ("target_modules", 7), ("target_modules", {"q": 1}),
        ("rank_pattern", [3]), ("layers_to_transform", "all"), ("lora_dropout", 2), ("use_rslora", "yes"),
        ("task_type", "TALK"), ("modules_to_save", "lm_head"), ("fan_in_fan_out", 1),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_kind_is_refused_by_name(folder, key, value):
    edit_config(folder, **{key: value})
    with pytest.raises(ConfigError, match=f"adapter_config.json: .*{key}"):
        load(folder)


def first(tensors):
    return next(k for k in tensors if ".lora_B." in k)


def drop(tensors):
    del tensors[first(tensors)]


def nan(tensors):
    tensors[first(tensors)][0, 0] = np.nan


def overflowing(tensors):
    tensors[first(tensors)] = np.full((24, 3), 1e300)


def turned(tensors):
    tensors[first(tensors)] = tensors[first(tensors)].T.copy()


def whole(tensors):
    tensors[first(tensors)] = tensors[first(tensors)].astype(np.int32)


def extra(name):
    def change(tensors):
        tensors[ROOT + name] = np.zeros((24,), np.float32)

    return change


def doubled(tensors):
    tensors[first(tensors).replace("_B.", "_B.default.")] = tensors[first(tensors)]


def of_two(tensors):
    for i, key in enumerate(list(tensors)):
        tensors[key.replace("_B.", f"_B.name{i}.").replace("_A.", f"_A.name{i}.")] = tensors.pop(key)


def bare(tensors):
    for key in list(tensors):
        tensors[key.removeprefix(ROOT)] = tensors.pop(key)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (drop, r"1 missing: model.layers.\d.self_attn.q_proj.lora_B.weight"),
        (nan, "1 with values that are not finite: .*lora_B.weight"),
        (overflowing, "1 with values that are not finite: .*lora_B.weight"),
        (turned, r"1 of the wrong shape \(\(3, 24\) where \(24, 3\) is expected\): .*lora_B.weight"),
        (whole, r"1 not floating point \(int32\): .*lora_B.weight"),
        (
            extra("model.layers.5.self_attn.q_proj.lora_A.weight"),
            "1 that match no module of this model: model.layers.5",
        ),
        (extra(Q0 + ".lora_magnitude_vector"), f"1 of DoRA, but the config does not say use_dora: {Q0}"),
        (extra(Q0 + ".lora_B.bias"), "1 of lora_bias, but the config does not say so"),
        (
            extra("model.embed_tokens.token_adapter.trainable_tokens_delta"),
            "1 of trainable_token_indices, but the config does not name tokens",
        ),
        (extra(Q0 + ".base_layer.bias"), "1 of bias, which is not supported"),
        (extra("model.norm.weight"), r"1 base weights of another shape .*\(16,\) is expected\): model.norm.weight"),
        (doubled, "is stored twice, with and without an adapter's name"),
        (of_two, "tensors of several adapters: name0, name1, name2, name3"),
        (bare, "must begin with 'base_model.model.'; PEFT would load it as nothing at all"),
        (lambda t: t.clear(), "4 missing: "),
    ],
)
def test_tensors_that_do_not_all_find_their_place_are_refused_with_the_list(folder, change, line):
    edit_tensors(folder, change)
    model = tiny_llama()
    before = {n: p.data for n, p in model.named_parameters()}
    with pytest.raises(FormatError, match=line) as error:
        load(folder, model)
    assert "\n" not in str(error.value) and "adapter_model.safetensors" in str(error.value)
    assert {n: p.data for n, p in model.named_parameters()} == before  # nothing is loaded halfway


def test_names_and_values_with_line_breaks_make_no_second_line(folder):
    edit_tensors(folder, extra("a\nb.lora_A.weight"))
    with pytest.raises(FormatError, match=r"'a\\nb.lora_A.weight'$") as error:
        load(folder)
    assert "\n" not in str(error.value)
    edit_config(folder, **{"a\nb": "c\nd"})
    with pytest.raises(ConfigError, match=r"'a\\nb' = 'c\\nd' is not supported$") as error:
        load(folder)
    assert "\n" not in str(error.value)


def test_a_long_list_is_cut_with_its_count(folder):
    edit_tensors(folder, lambda t: {ROOT + f"x{i}.lora_A.weight": np.zeros((1, 1), np.float32) for i in range(9)})
    with pytest.raises(FormatError, match="4 missing: .*; 9 that match no module .* and 8 more") as error:
        load(folder)
    assert len(str(error.value)) < 300 + len(str(folder))


def test_a_rank_that_the_tensors_do_not_have_is_named(folder):
    edit_config(folder, r=5, rank_pattern={})
    with pytest.raises(FormatError, match="; adapter_config.json says r = 5, the tensors have 3$"):
        load(folder)


def test_feedforward_modules_that_the_tensors_do_not_have_are_named(tmp_path):
    config = IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"])
    get_peft_model(tiny_llama(), config).save_pretrained(tmp_path)
    edit_config(tmp_path, feedforward_modules=[])
    with pytest.raises(FormatError, match="; feedforward_modules in adapter_config.json names other modules than"):
        load(tmp_path)


def test_a_number_of_virtual_tokens_that_the_tensors_do_not_have_is_named(tmp_path):
    get_peft_model(tiny_llama(), PromptTuningConfig(num_virtual_tokens=4)).save_pretrained(tmp_path)
    edit_config(tmp_path, num_virtual_tokens=7)
    with pytest.raises(FormatError, match="says num_virtual_tokens = 7, the tensors have 4$"):
        load(tmp_path)


def test_an_adapter_for_another_architecture_names_what_this_model_has(tmp_path):
    with pytest.raises(ConfigError, match=r"no module matches target_modules \['c_attn'.*the model has: "):
        load(GOLDEN / "gpt2_tiny" / "adapter")


def test_an_adapter_for_another_size_lists_names_and_shapes(folder):
    model = tiny_llama(hidden_size=20)
    with pytest.raises(FormatError, match=r"of the wrong shape \(\(3, 16\) where \(3, 20\) is expected\): .*lora_A"):
        load(folder, model)


def test_an_adapter_for_more_layers_is_refused_and_not_half_loaded(folder):
    model = tiny_llama(num_hidden_layers=1)
    with pytest.raises(FormatError, match="2 that match no module of this model: model.layers.1"):
        load(folder, model)
    assert [n for n, _ in model.named_parameters()] == [
        n for n, _ in tiny_llama(num_hidden_layers=1).named_parameters()
    ]


def test_a_second_adapter_that_is_refused_leaves_the_first_as_it_was(folder):
    model = with_lora(tiny_llama(), ["v_proj"])
    before, names = model(IDS).numpy(), [n for n, _ in model.named_parameters()]
    edit_tensors(folder, drop)
    with pytest.raises(FormatError, match="missing"):
        model.load_adapter(folder, "b")
    assert list(model.peft_config) == ["default"] and [n for n, _ in model.named_parameters()] == names
    assert np.array_equal(model(IDS).numpy(), before)


def test_a_pickle_is_refused_with_the_way_to_convert_it(folder):
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(FormatError, match="adapter_model.bin: a pickle can run code and is not read: convert with"):
        load(folder)


def test_a_folder_without_an_adapter_says_what_is_there(folder, tmp_path):
    with pytest.raises(MissingFileError, match="no such folder"):
        load(tmp_path / "nowhere")
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(MissingFileError, match=r"no adapter_model.safetensors"):
        load(folder)
    shutil.copytree(GOLDEN / "gpt2_tiny" / "adapter", tmp_path / "all" / "style")
    with pytest.raises(MissingFileError, match="no adapter_config.json; adapters inside: style"):
        load(tmp_path / "all")
