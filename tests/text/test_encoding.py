"""Text to ids with tokenizers of other kinds: what stands in front, what ends a text, and seams that leave no trace."""

import json

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from minilora.errors import FormatError, MissingFileError
from minilora.files.shipped import shipped
from minilora.tasks.shipped import TASKS
from minilora.text.encoding import encode_pair, encode_prompt, encode_text, frame
from minilora.text.tokenizer import END, load_tokenizer

TOKENS = ["<unk>", "<s>", "</s>", "<|endoftext|>", "<end>", "<0x0A>", "\u2581", *"abcdefghijklmnopqrstuvwxyz.?|<>_"]


def sentencepiece(*special):
    """As Llama 2 has it: a space in front of every text, a line break is a byte, <s> in front of every text."""
    kept = [t for t in TOKENS if not (t.startswith("<") and t.endswith(">")) or t in special or t == "<0x0A>"]
    made = Tokenizer(models.BPE({t: i for i, t in enumerate(kept)}, [], unk_token="<unk>", byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.add_special_tokens(list(special))
    if "<s>" in special:
        place = [("<s>", made.token_to_id("<s>"))]
        made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=place)
    return made


def saved(folder, inner, **settings):
    inner.save(str(folder / "tokenizer.json"))
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return load_tokenizer(folder)


LLAMA2 = ("<unk>", "<s>", "</s>")


def test_a_prompt_begins_with_what_the_tokenizer_puts_in_front_of_every_text(tmp_path):
    tokenizer = saved(tmp_path, sentencepiece(*LLAMA2))
    assert encode_prompt("where?", tokenizer) == tokenizer.inner.encode("where?\n").ids
    assert encode_prompt("where?", tokenizer)[0] == tokenizer.inner.token_to_id("<s>")
    assert tokenizer.encode("where?")[0] != tokenizer.inner.token_to_id("<s>")


def test_an_end_behind_every_text_is_not_taken_for_what_stands_in_front(tmp_path):
    inner = sentencepiece(*LLAMA2)
    place = [(t, inner.token_to_id(t)) for t in ("<s>", "</s>")]
    inner.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=place)
    tokenizer = saved(tmp_path, inner)
    assert encode_prompt("a", tokenizer) == [place[0][1], *tokenizer.encode("a\n")]


def test_prompt_and_response_together_are_tokenized_as_one_text(tmp_path):
    tokenizer = saved(tmp_path, sentencepiece(*LLAMA2))
    prompt, response = encode_pair({"prompt": "where?", "response": "in town."}, tokenizer)
    assert prompt + response == [*tokenizer.inner.encode("where?\nin town.").ids, tokenizer.eos_id]
    assert tokenizer.decode(prompt + response) == "where?\nin town."


def test_where_the_seam_would_change_the_prompt_both_are_tokenized_alone(tmp_path):
    inner = Tokenizer(models.BPE({"a": 0, "\n": 1, "\nb": 2, "b": 3}, [("\n", "b")]))
    tokenizer = saved(tmp_path, inner)
    assert encode_pair({"prompt": "a", "response": "b"}, tokenizer) == ([0, 1], [3])


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


def test_texts_are_parted_by_the_tokenizers_own_end_and_start(tmp_path):
    tokenizer = saved(tmp_path, sentencepiece(*LLAMA2))
    one, two = (tokenizer.inner.encode(text).ids for text in ("one.", "two."))
    ids = encode_text(f"one.\n{END}\ntwo.", tokenizer)
    assert ids.dtype == np.int64 and ids.tolist() == [*one, tokenizer.eos_id, *two]


def test_a_tokenizer_that_knows_the_end_mark_reads_it_in_the_text(tmp_path):
    inner = Tokenizer(models.BPE({"a": 0, "b": 1}, []))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.add_special_tokens([END, "<end>"])
    tokenizer = saved(tmp_path, inner, eos_token="<end>")
    assert encode_text(f"a{END}b", tokenizer).tolist() == [0, inner.token_to_id(END), 1]


def test_the_shipped_examples_are_tokenized_as_prompt_and_response_apart():
    tokenizer = load_tokenizer(shipped("tokenizer.json"))
    for task in TASKS.values():
        for e in task.examples("train")[:200]:
            apart = tokenizer.encode(frame(e["prompt"])), [*tokenizer.encode(e["response"]), tokenizer.eos_id]
            assert encode_pair(e, tokenizer) == apart
