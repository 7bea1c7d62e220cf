"""tokenizer.json of a folder: which token ends a text, and what is refused."""

import pytest
from foreign_tokenizers import LLAMA2, saved, sentencepiece

from minilora.errors import FormatError, MissingFileError
from minilora.text.encoding import encode_pair
from minilora.text.tokenizer import load_tokenizer


@pytest.mark.parametrize("named", ["<end>", {"content": "<end>", "lstrip": False}])
def test_the_end_token_is_the_one_that_the_folder_names(tmp_path, named):
    tokenizer = saved(tmp_path, sentencepiece(*LLAMA2, "<|endoftext|>", "<end>"), eos_token=named)
    assert tokenizer.eos_id == tokenizer.inner.token_to_id("<end>")
    assert encode_pair({"prompt": "a", "response": "b"}, tokenizer)[1][-1] == tokenizer.eos_id


@pytest.mark.parametrize("settings", [{}, {"eos_token": None}, {"eos_token": "<not a token>"}, {"eos_token": 3}])
def test_without_a_name_that_the_tokenizer_knows_the_end_is_one_of_the_usual(tmp_path, settings):
    tokenizer = saved(tmp_path, sentencepiece(*LLAMA2), **settings)
    assert tokenizer.eos_id == tokenizer.inner.token_to_id("</s>")


def test_settings_of_a_tokenizer_that_are_no_object_are_refused(tmp_path):
    sentencepiece(*LLAMA2).save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(FormatError, match="tokenizer_config.json: expected a JSON object"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("other", ["tokenizer.model", "vocab.json"])
def test_a_folder_with_an_older_form_of_tokenizer_says_how_to_convert_it(tmp_path, other):
    (tmp_path / other).write_bytes(b"")
    with pytest.raises(MissingFileError, match=rf"no tokenizer.json in .*only {other}.*AutoTokenizer"):
        load_tokenizer(tmp_path)
