"""Tokenizers that transformers builds by a class: the ids follow the class, not the steps in tokenizer.json."""

import json

import pytest
from foreign_tokenizers import LLAMA2, saved, sentencepiece
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())


def of_bytes(space_first=False):
    """Byte-level BPE in which "12" is one token, as GPT-2's file has it."""
    made = Tokenizer(models.BPE({name: i for i, name in enumerate([*LETTERS, "12"])}, [("1", "2")]))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=space_first), decoders.ByteLevel()
    return made


def tokens(folder, inner, text, model_type, **settings):
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
    tokenizer = saved(folder, inner, **settings)
    return [tokenizer.inner.id_to_token(i) for i in tokenizer.encode(text)]


@pytest.mark.parametrize(
    ("model_type", "settings", "expected"),
    [
        ("qwen2", {}, ["1", "2"]),
        ("qwen2", {"tokenizer_class": "PreTrainedTokenizerFast"}, ["1", "2"]),
        ("qwen3", {}, ["1", "2"]),
        ("qwen3", {"tokenizer_class": "PreTrainedTokenizerFast"}, ["12"]),
        ("llama", {"tokenizer_class": "Qwen2TokenizerFast"}, ["1", "2"]),
        ("llama", {}, ["12"]),
        ("mistral", {"tokenizer_class": "Qwen2Tokenizer"}, ["12"]),
        ("llama", {"tokenizer_class": ["Qwen2Tokenizer"]}, ["12"]),
    ],
)
def test_a_qwen2_tokenizer_has_every_digit_by_itself_and_others_are_as_their_file(
    tmp_path, model_type, settings, expected
):
    assert tokens(tmp_path, of_bytes(), "12", model_type, **settings) == expected


@pytest.mark.parametrize(("asked", "expected"), [({}, ["a"]), ({"add_prefix_space": True}, ["\u0120", "a"])])
def test_the_space_in_front_of_a_gpt2_tokenizer_is_that_of_its_settings(tmp_path, asked, expected):
    for in_file in (False, True):
        inner = of_bytes(space_first=in_file)
        assert tokens(tmp_path, inner, "a", "llama", tokenizer_class="GPT2Tokenizer", **asked) == expected


def test_a_code_llama_tokenizer_never_puts_a_space_behind_a_special_token(tmp_path):
    settings = {"tokenizer_class": "CodeLlamaTokenizer", "legacy": True}
    found = tokens(tmp_path, sentencepiece(*LLAMA2), "x</s>y", "llama", **settings)
    assert found == ["\u2581", "x", "</s>", "y"]


def test_a_gemma_tokenizer_puts_no_space_in_front(tmp_path):
    assert tokens(tmp_path, sentencepiece(*LLAMA2), "a b", "gemma2") == ["a", "\u2581", "b"]
