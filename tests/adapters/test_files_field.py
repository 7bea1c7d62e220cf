"""What people bring: adapters with copies of the base in them, for another base, with settings that match nothing."""

import json

import ml_dtypes
import numpy as np
import pytest
from peft_cases import ROOT, edit_config, edit_tensors, load, saved
from tiny import random_ids, tiny_llama, with_lora

from minilora import LoraConfig, PeftModel, get_peft_model
from minilora.adapters import files
from minilora.adapters.targets import as_target_modules
from minilora.errors import ConfigError, FormatError, MiniloraError, MissingFileError

IDS = random_ids()


def own(name):
    return dict(tiny_llama().named_parameters(remove_duplicate=False))[name].data


def copies(tensors, module, array):
    """What PEFT writes for a module of modules_to_save when embedding layers are saved too: three times its weight."""
    trained = tensors[f"{ROOT}{module}.weight"]
    return tensors | {
        f"{ROOT}{module}.modules_to_save.weight": trained,
        f"{ROOT}{module}.original_module.weight": array,
    }


@pytest.fixture
def with_copies(tmp_path):
    saved(tmp_path, ["q_proj"], modules_to_save=["embed_tokens", "lm_head"])
    return tmp_path


# ---- copies of the base


def test_a_module_that_is_stored_three_times_is_read_once(with_copies):
    plain = load(with_copies)(IDS).data
    for module in ("model.embed_tokens", "lm_head"):
        edit_tensors(with_copies, lambda t, m=module: copies(t, m, own(f"{m}.weight")))
    assert np.array_equal(load(with_copies)(IDS).data, plain)


def test_copies_that_disagree_are_refused(with_copies):
    edit_tensors(with_copies, lambda t: t | {f"{ROOT}lm_head.modules_to_save.weight": own("lm_head.weight") * 2})
    with pytest.raises(FormatError, match="lm_head.weight is stored twice"):
        load(with_copies)


def test_an_original_that_is_not_this_models_is_refused(with_copies):
    edit_tensors(with_copies, lambda t: copies(t, "lm_head", own("lm_head.weight") * 2))
    with pytest.raises(FormatError, match="1 base weights that differ from this model's: lm_head.original_module"):
        load(with_copies)


@pytest.mark.parametrize("kind", [ml_dtypes.bfloat16, np.float16])
def test_a_copy_of_the_base_in_16_bits_is_accepted_and_the_bases_own_weight_is_used(tmp_path, kind):
    saved(tmp_path, ["lm_head"])
    plain = load(tmp_path)(IDS).data
    rounded = own("lm_head.weight").astype(kind).astype(np.float32)
    assert not np.array_equal(rounded, own("lm_head.weight"))
    edit_tensors(tmp_path, lambda t: t | {f"{ROOT}lm_head.base_layer.weight": rounded})
    assert np.array_equal(load(tmp_path)(IDS).data, plain)


def test_a_copy_of_the_base_that_is_off_by_one_bit_of_float32_is_refused(tmp_path):
    saved(tmp_path, ["lm_head"])
    almost = np.nextafter(own("lm_head.weight"), np.float32(9))
    edit_tensors(tmp_path, lambda t: t | {f"{ROOT}lm_head.base_layer.weight": almost})
    with pytest.raises(FormatError, match="base weights that differ"):
        load(tmp_path)


RESIZED = r"\(31, 16\) where \(29, 16\) is expected: tokens were added; give the resized base"


def test_a_vocabulary_that_was_resized_says_so(tmp_path):
    saved(tmp_path, ["lm_head"])
    edit_tensors(tmp_path, lambda t: t | {f"{ROOT}lm_head.base_layer.weight": np.zeros((31, 16), np.float32)})
    with pytest.raises(FormatError, match=RESIZED):
        load(tmp_path)


def test_a_trained_embedding_with_added_tokens_says_so(with_copies):
    edit_tensors(with_copies, lambda t: t | {f"{ROOT}model.embed_tokens.weight": np.zeros((31, 16), np.float32)})
    with pytest.raises(FormatError, match=RESIZED):
        load(with_copies)


# ---- the base that it was made for


def test_an_adapter_on_another_base_of_the_same_shapes_is_noted(tmp_path):
    saved(tmp_path)
    with pytest.warns(UserWarning, match="was trained on another base than this one, with the same shapes"):
        PeftModel.from_pretrained(tiny_llama(seed=7), tmp_path)


def test_an_adapter_on_its_own_base_is_not_noted_and_one_without_a_mark_neither(tmp_path, recwarn):
    saved(tmp_path)
    load(tmp_path)
    edit_tensors(tmp_path, lambda t: t)  # writes the file again, without the mark
    PeftModel.from_pretrained(tiny_llama(seed=7), tmp_path)
    assert not recwarn.list


def test_an_adapter_that_does_not_fit_says_which_base_it_was_made_for(tmp_path):
    saved(tmp_path)
    edit_config(tmp_path, base_model_name_or_path="org/large")
    with pytest.raises(MiniloraError, match="; it was made for org/large$"):
        PeftModel.from_pretrained(tiny_llama(hidden_size=20), tmp_path)
    edit_config(tmp_path, target_modules=["c_attn"])
    with pytest.raises(ConfigError, match="; it was made for org/large$"):
        load(tmp_path)


def test_a_merged_model_has_the_fingerprint_of_its_unmerged_base():
    model = with_lora(tiny_llama())
    before = model.base_model.fingerprint()
    model.merge_adapter()
    assert model.base_model.fingerprint() == before != with_lora(tiny_llama(seed=3)).base_model.fingerprint()


# ---- killed between the two files


def test_tensors_of_one_adapter_are_never_left_beside_the_config_of_another(tmp_path, monkeypatch):
    saved(tmp_path)
    other = get_peft_model(tiny_llama(), LoraConfig(r=3, lora_alpha=64, target_modules=["q_proj"]))

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        other.save_pretrained(tmp_path)
    with pytest.raises(MissingFileError, match=r"no adapter_config\.json"):
        load(tmp_path)


def test_saving_the_same_adapter_again_never_removes_its_config(tmp_path, monkeypatch):
    model = saved(tmp_path)
    there = []
    monkeypatch.setattr(files, "write_tensors", lambda *a: there.append((tmp_path / files.CONFIG).is_file()))
    model.save_pretrained(tmp_path)
    assert there == [True]


# ---- settings without effect


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"rank_pattern": {"q_porj": 2}}, "rank_pattern 'q_porj' matches no adapted module: q_proj"),
        ({"alpha_pattern": {"^q_proj": 100}}, "alpha_pattern '^q_proj' matches no adapted module: q_proj"),
        ({"exclude_modules": ["lm_hed"]}, "exclude_modules 'lm_hed' matches no module: lm_head"),
        ({"exclude_modules": "lm_hed"}, "exclude_modules 'lm_hed' matches no module: lm_head"),
    ],
)
def test_a_setting_that_matches_nothing_is_noted_once_when_made_and_when_loaded(options, note, tmp_path):
    with pytest.warns(UserWarning) as notes:
        model = get_peft_model(tiny_llama(), LoraConfig(r=3, target_modules=["q_proj"], **options))
    assert [str(n.message)[: len(note)] for n in notes] == [note]
    model.save_pretrained(tmp_path)
    with pytest.warns(UserWarning) as notes:
        load(tmp_path)
    assert [str(n.message)[: len(note)] for n in notes] == [note]


@pytest.mark.parametrize("field", ["exclude_modules", "modules_to_save"])
def test_of_many_names_that_match_nothing_the_first_are_noted_and_the_rest_counted(field):
    model = get_peft_model(tiny_llama(), LoraConfig(r=3, target_modules=["q_proj"]))
    options = {field: [f"nowhere_{n}" for n in range(20_000)]}
    with pytest.warns(UserWarning) as notes:  # as a file is read
        model.base_model.accept(LoraConfig(r=3, target_modules=["q_proj"], **options))
    said = [str(n.message) for n in notes]
    assert len(said) == 6 and said[0].startswith(f"{field} 'nowhere_0' matches no module: ")
    assert said[-1] == f"{field}: 19,995 more names match no module"


def test_settings_with_an_effect_are_not_noted(recwarn):
    options = {"rank_pattern": {"layers.0.self_attn.q_proj": 2}, "alpha_pattern": {r".*\.1\..*": 7}}
    get_peft_model(tiny_llama(), LoraConfig(r=3, target_modules=["q_proj"], exclude_modules=["lm_head"], **options))
    assert not recwarn.list


# ---- targets as people type them


@pytest.mark.parametrize("typed", ["[q_proj,v_proj]", "q_proj v_proj", "['q_proj', 'v_proj']", "q_proj; v_proj"])
def test_names_that_are_separated_in_another_way_are_told_how_to_be_written(typed):
    with pytest.raises(ConfigError, match="write q_proj,v_proj$"):
        as_target_modules(typed)


def test_a_pattern_of_a_file_that_would_take_for_ever_is_refused(tmp_path):
    saved(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    config["target_modules"] = "(.*.*)*=(.*.*)*(.*)*x"
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="takes more than 2 s|no module matches"):
        load(tmp_path)
