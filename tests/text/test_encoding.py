"""Text to ids with tokenizers of other kinds: what stands in front, what ends a text, and seams that leave no trace."""

import numpy as np
import pytest
from foreign_tokenizers import LLAMA2, saved, sentencepiece
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from minilora.files.shipped import shipped
from minilora.tasks.shipped import TASKS
from minilora.text import encoding
from minilora.text.encoding import cut_text, encode_pair, encode_prompt, encode_text, frame
from minilora.text.tokenizer import END, load_tokenizer


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


def test_texts_are_parted_by_the_tokenizers_own_end_and_start(tmp_path):
    tokenizer = saved(tmp_path, sentencepiece(*LLAMA2))
    one, two = (tokenizer.inner.encode(text).ids for text in ("one.", "two."))
    ids = encode_text(f"one.\n{END}\ntwo.", tokenizer)
    assert ids.dtype == np.int32 and ids.tolist() == [*one, tokenizer.eos_id, *two]


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


def corpus():
    return shipped("corpus_valid.txt").read_text(encoding="utf-8")[:20_000]


def test_a_long_text_in_pieces_has_the_ids_of_the_whole(monkeypatch):
    tokenizer, text = load_tokenizer(shipped("tokenizer.json")), corpus()
    whole = tokenizer.encode(text)
    monkeypatch.setattr(encoding, "PIECE", 300)
    assert len(cut_text(text, tokenizer)) > 20
    assert encode_text(text, tokenizer).tolist() == whole


@pytest.mark.parametrize("text", ["the sea is old " * 400, '{"sea":[1,2,"old"]},' * 300, "a\tb\t" * 1000], ids=repr)
def test_a_text_of_one_line_is_cut_at_spaces_or_signs(monkeypatch, text):
    tokenizer = load_tokenizer(shipped("tokenizer.json"))
    monkeypatch.setattr(encoding, "PIECE", 300)
    assert len(cut_text(text, tokenizer)) > 5
    assert encode_text(text, tokenizer).tolist() == tokenizer.encode(text)


def test_a_text_of_one_word_is_not_cut(monkeypatch):
    monkeypatch.setattr(encoding, "PIECE", 300)
    assert cut_text("a" * 2000, load_tokenizer(shipped("tokenizer.json"))) == [(0, 2000)]


@pytest.mark.parametrize("settings", [{}, {"tokenizer_class": "LlamaTokenizer"}])
def test_a_tokenizer_that_puts_a_space_in_front_of_every_text_encodes_a_piece_behind_a_line_break(
    tmp_path, monkeypatch, settings
):
    tokenizer, text = saved(tmp_path, sentencepiece(*LLAMA2), **settings), "a cat.\n\n the </s>dog\n" * 200
    whole = tokenizer.start + tokenizer.encode(text)
    monkeypatch.setattr(encoding, "PIECE", 100)
    lines = "a cat.\n" * 200
    assert cut_text(lines, tokenizer) == [(0, len(lines))]
    assert len(encoding.pieces_of(lines, tokenizer)) > 10
    assert encode_text(lines, tokenizer).tolist() == tokenizer.start + tokenizer.encode(lines)
    assert len(encoding.pieces_of(text, tokenizer)) > 20
    assert encode_text(text, tokenizer).tolist() == whole


def test_the_loop_over_the_pieces_can_be_watched(monkeypatch):
    monkeypatch.setattr(encoding, "PIECE", 1000)
    seen = []
    encode_text(
        corpus(), load_tokenizer(shipped("tokenizer.json")), each=lambda pieces: seen.append(len(pieces)) or pieces
    )
    assert seen[0] > 5


def test_many_examples_together_have_the_ids_of_each_alone(tmp_path):
    examples = [{"prompt": f"where is {n}?", "response": "x" * (n % 5 + 1)} for n in range(30)] + [
        {"text": "plain text"}
    ]
    for tokenizer in (load_tokenizer(shipped("base")), saved(tmp_path, sentencepiece(*LLAMA2))):
        found = [encode_pair.texts(example, tokenizer) for example in examples]
        assert encode_pair.many(found, tokenizer) == [encode_pair(example, tokenizer) for example in examples]


def test_a_seam_that_changes_the_prompt_is_cut_together_as_alone():
    inner = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2, "\n": 3}, [("a", "b")]))
    tokenizer = encoding.TextTokenizer(inner)
    joined = encoding.PairEncoder(lambda example, _: ([], "a", "b", [3]))
    assert joined.many([joined.texts({}, tokenizer)], tokenizer) == [joined({}, tokenizer)] == [([0], [1, 3])]
