"""Folders of base models: what is saved is loaded, in little memory; what is not exactly the model is refused."""

import gc
import json
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from checkpoints import GOLDEN, MODELS, copy_of, edit_json, expected
from commands import make_base
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import SIZES, random_ids, tiny_llama, with_lora

import minilora as ml
from minilora.errors import ConfigError, FormatError, MiniloraError, MissingFileError
from minilora.files.safetensors import read_header, read_tensors, write_tensors
from minilora.files.shipped import shipped
from minilora.models.llama import LlamaConfig, LlamaForCausalLM
from minilora.models.pretrained import base_folder, load_base

INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path):
    """A copy of the golden Llama that a test may damage."""
    return copy_of("llama3rope_tiny", tmp_path / "model")


@pytest.fixture
def shards(tmp_path):
    return copy_of("llama3rope_tiny", tmp_path / "model", "base_sharded")


def refusal(folder, error=FormatError):
    with pytest.raises(error) as caught:
        ml.load_pretrained(folder)
    line = str(caught.value)
    assert "\n" not in line
    return line


def rewrite(folder, change):
    """Change the tensors of model.safetensors: `change` maps {name: array} to another."""
    path = folder / "model.safetensors"
    write_tensors(path, change(read_tensors(path)))


# ---- what loading gives


@pytest.mark.parametrize("name", MODELS)
def test_one_file_and_shards_fill_the_same_bits(name):
    one, many = (dict(ml.load_pretrained(GOLDEN / name / k).named_parameters()) for k in ("base", "base_sharded"))
    assert one and one.keys() == many.keys()
    assert all(one[n].data.tobytes() == many[n].data.tobytes() for n in one)


@pytest.mark.parametrize("name", MODELS)
def test_bfloat16_weights_are_the_float32_ones_rounded_to_8_bits(name):
    exact, rounded = (dict(ml.load_pretrained(GOLDEN / name / k).named_parameters()) for k in ("base", "base_bf16"))
    assert exact.keys() == rounded.keys()
    for n in exact:
        assert rounded[n].dtype == np.float32
        assert (abs(rounded[n].data - exact[n].data) <= 2.0**-8 * abs(exact[n].data)).all()
        assert not (rounded[n].data.view(np.uint32) & 0xFFFF).any()


@pytest.mark.parametrize("dtype", [np.float32, "float64"])
def test_weights_take_the_working_type(folder, dtype):
    model = ml.load_pretrained(folder, dtype=dtype)
    assert {p.dtype for p in model.parameters()} == {np.dtype(dtype)}


@pytest.mark.parametrize("dtype", ["bfloat17", np.complex64, np.int32, "float31", None])
def test_another_working_type_is_refused(folder, dtype):
    with pytest.raises(ConfigError, match="expected float32, float64, bfloat16 or float16"):
        ml.load_pretrained(folder, dtype=dtype)


def test_a_loaded_model_is_in_eval_mode_and_every_weight_can_be_trained(folder):
    model = ml.load_pretrained(folder)
    assert not model.training and all(p.requires_grad for p in model.parameters())


def test_a_loaded_model_knows_what_it_was_loaded_from(folder):
    assert ml.load_pretrained(folder).name_or_path == str(folder)


def test_without_a_path_it_is_the_shipped_base():
    model, tokenizer = load_base()
    assert base_folder() == shipped("base")
    assert model.name_or_path is None  # where the package lies here means nothing elsewhere
    assert tokenizer.vocab_size == model.config.vocab_size == 1024


def test_a_base_and_its_tokenizer_are_those_of_the_folder(tmp_path):
    make_base(tmp_path / "base")
    model, tokenizer = load_base(tmp_path / "base")
    assert base_folder(tmp_path / "base") == tmp_path / "base"
    assert model.name_or_path == str(tmp_path / "base") and tokenizer.vocab_size == model.config.vocab_size < 1024


def test_a_device_that_is_not_there_is_refused(folder):
    with pytest.raises(ConfigError, match="gpu"):
        ml.load_pretrained(folder, device="gpu:0")


def test_importing_the_package_loads_no_file_format_library():
    code = "import sys, minilora; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"safetensors", "ml_dtypes", "tokenizers", "jinja2", "huggingface_hub"} & set(out.stdout.split())


@pytest.mark.slow
@pytest.mark.parametrize("stored", ["float32", "float16"])
def test_loading_takes_less_memory_than_1_3_times_the_model(tmp_path, stored):
    config = LlamaConfig(4000, 512, 1024, 3, 8)
    model = LlamaForCausalLM(config).init(0)
    for p in model.parameters():
        p.data = p.data.astype(stored)
    size = sum(p.size for p in model.parameters()) * 4
    model.save_pretrained(tmp_path)
    del model
    gc.collect()
    tracemalloc.start()
    loaded = ml.load_pretrained(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size <= sum(p.data.nbytes for p in loaded.parameters()) <= peak < 1.3 * size


def test_loaded_weights_own_their_memory(folder):
    for p in ml.load_pretrained(folder).parameters():
        assert p.data.base is None and p.data.flags.writeable


# ---- what saving gives


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_model_loads_to_the_same_bits(tmp_path, name):
    model = ml.load_pretrained(GOLDEN / name / "base")
    model.save_pretrained(tmp_path)
    again = ml.load_pretrained(tmp_path)
    assert again.config == model.config
    before, after = dict(model.named_parameters()), dict(again.named_parameters())
    assert before.keys() == after.keys()
    assert all(before[n].data.tobytes() == after[n].data.tobytes() for n in before)


def test_a_tied_head_is_saved_once(tmp_path):
    tiny_llama(tie_word_embeddings=True).save_pretrained(tmp_path)
    assert "lm_head.weight" not in read_header(tmp_path / "model.safetensors")[0]
    assert json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"] is True


def test_a_tied_head_that_was_changed_is_saved_beside_the_embedding(tmp_path):
    model = tiny_llama(tie_word_embeddings=True)
    model.lm_head.replace_weight(model.lm_head.dense() * 2)
    model.save_pretrained(tmp_path)
    again = ml.load_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"] is False
    np.testing.assert_array_equal(again.lm_head.weight.data, 2 * again.model.embed_tokens.weight.data)
    np.testing.assert_array_equal(again(random_ids()).numpy(), model(random_ids()).numpy())


def test_a_model_with_adapters_in_it_is_not_saved_as_a_base(tmp_path):
    model = tiny_llama()
    with_lora(model)
    with pytest.raises(ConfigError, match="merge_and_unload"):
        model.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_saving_over_the_folder_that_a_model_came_from_keeps_it(folder):
    before = read_tensors(folder / "model.safetensors")
    ml.load_pretrained(folder).save_pretrained(folder)
    after = read_tensors(folder / "model.safetensors")
    assert before and before.keys() == after.keys()
    assert all(before[n].tobytes() == after[n].tobytes() for n in before)


def test_an_output_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(MiniloraError, match="cannot write"):
        tiny_llama().save_pretrained(tmp_path / "file" / "out")


# ---- tensors that are not exactly the model's


def test_missing_extra_and_wrongly_shaped_tensors_are_all_listed(folder):
    def change(tensors):
        del tensors["model.norm.weight"]
        tensors["model.layers.2.self_attn.q_proj.weight"] = np.zeros((32, 32), np.float32)
        tensors["lm_head.weight"] = tensors["lm_head.weight"].T
        return tensors

    rewrite(folder, change)
    line = refusal(folder)
    assert "missing 1 (model.norm.weight)" in line
    assert "extra 1 (model.layers.2.self_attn.q_proj.weight)" in line
    assert "lm_head.weight F32 (32, 97) for (97, 32)" in line


def test_a_file_without_a_head_says_what_a_tied_one_needs(folder):
    rewrite(folder, lambda t: {n: a for n, a in t.items() if n != "lm_head.weight"})
    assert "missing 1 (lm_head.weight); a head that is the embedding needs tie_word_embeddings: true" in refusal(folder)


def test_a_name_with_line_breaks_makes_an_error_of_one_line_all_the_same(folder):
    rewrite(folder, lambda t: t | {"two\nlines": np.zeros(3, np.float32)})
    assert r"two\nlines" in refusal(folder)


def test_a_weight_of_whole_numbers_is_refused(folder):
    rewrite(folder, lambda t: t | {"lm_head.weight": t["lm_head.weight"].astype(np.int32)})
    assert "lm_head.weight I32" in refusal(folder)


def test_a_config_of_another_size_is_refused_with_the_shapes(folder):
    edit_json(folder / "config.json", intermediate_size=56)
    assert "(32, 48) for (32, 56)" in refusal(folder)


def test_a_config_with_more_layers_than_the_file_is_refused(folder):
    edit_json(folder / "config.json", num_hidden_layers=3)
    assert "missing 9 (model.layers.2" in refusal(folder)


def test_rotary_frequencies_that_old_files_carry_are_passed_over(folder):
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    rewrite(folder, lambda t: t | {name: np.ones(4, np.float32)})
    golden = expected("llama3rope_tiny")
    assert abs(ml.load_pretrained(folder)(golden["input_ids"]).numpy() - golden["base_logits"]).max() <= 1e-5


def test_gpt2_files_without_the_prefix_and_with_masks_load_to_the_same_logits(tmp_path):
    folder = copy_of("gpt2_tiny", tmp_path / "model")
    masks = {f"h.{i}.attn.bias": np.tril(np.ones((1, 1, 64, 64), np.float32)) for i in range(2)}
    masks |= {f"h.{i}.attn.masked_bias": np.float32(-1e4).reshape(()) for i in range(2)}
    rewrite(folder, lambda t: {n.removeprefix("transformer."): a for n, a in t.items()} | masks)
    golden = expected("gpt2_tiny")
    assert abs(ml.load_pretrained(folder)(golden["input_ids"]).numpy() - golden["base_logits"]).max() <= 1e-5


def test_a_file_where_half_of_the_names_have_the_prefix_is_refused(tmp_path):
    folder = copy_of("gpt2_tiny", tmp_path / "model")
    rewrite(folder, lambda t: {n.removeprefix("transformer.h.1."): a for n, a in t.items()})
    assert "extra 12" in refusal(folder)


@pytest.mark.parametrize(
    "name, embedding", [("qwen2tied_tiny", "model.embed_tokens"), ("gpt2_tiny", "transformer.wte")]
)
def test_a_second_copy_of_a_tied_head_is_passed_over_when_equal_and_refused_when_not(tmp_path, name, embedding):
    folder = copy_of(name, tmp_path / "model")
    rewrite(folder, lambda t: t | {"lm_head.weight": t[f"{embedding}.weight"]})
    golden = expected(name)
    assert abs(ml.load_pretrained(folder)(golden["input_ids"]).numpy() - golden["base_logits"]).max() <= 1e-5
    rewrite(folder, lambda t: t | {"lm_head.weight": t[f"{embedding}.weight"] + 1})
    assert "tie_word_embeddings" in refusal(folder)


# ---- files that are not there, or not what they claim to be


def test_a_folder_that_is_not_there_is_named(tmp_path):
    assert "no such folder" in refusal(tmp_path / "none", MissingFileError)


def test_a_file_in_the_place_of_a_folder_is_refused(folder):
    assert "no such folder" in refusal(folder / "model.safetensors", MissingFileError)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert name in refusal(folder, MissingFileError)


@pytest.mark.parametrize("text", ["[]", "3", "", "{", '{"model_type": "llama"', "\ufeff{}", "[" * 10**5])
def test_a_config_that_is_not_a_json_object_is_refused(folder, text):
    (folder / "config.json").write_text(text, encoding="utf-8")
    assert "config.json" in refusal(folder)


# ---- anything at all

FILES = {name: (GOLDEN / "llama3rope_tiny" / "base_sharded" / name).read_bytes()
         for name in ("config.json", INDEX, "model-00001-of-00004.safetensors")}  # fmt: skip
PIECES = [b"-1", b"1e999", b"null", b"[]", b"{}", b"true", b'"x"', b"99999999999999999999", b"0", b"7", b"[[", b'"',
          b"\xff", b"}", b",", b"NaN", b'"yarn"', b'"qwen2"', b'"gpt2"', b"false", b"1", b"2", b"\\n"]  # fmt: skip


@pytest.fixture(scope="module")
def victim(tmp_path_factory):
    return copy_of("llama3rope_tiny", tmp_path_factory.mktemp("fuzz") / "model", "base_sharded")


@settings(max_examples=200)
@given(st.sampled_from(list(FILES)), st.data())
def test_a_folder_with_a_damaged_file_loads_or_is_refused_in_one_line_and_nothing_else(victim, name, data):
    raw = FILES[name]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, min(len(raw), 2400)))
        cut = data.draw(st.sampled_from([0, 1, 2, 3, 5, 8, 10**6]))
        piece = data.draw(st.one_of(st.sampled_from(PIECES), st.binary(max_size=4)))
        raw = raw[:at] + piece + raw[at + cut :]
    (victim / name).write_bytes(raw)
    try:
        model = ml.load_pretrained(victim)
        with np.errstate(all="ignore"):
            assert model(random_ids(vocab=SIZES["vocab_size"])).shape == (2, 7, model.config.vocab_size)
    except MiniloraError as error:
        assert "\n" not in str(error)
    finally:
        (victim / name).write_bytes(FILES[name])
