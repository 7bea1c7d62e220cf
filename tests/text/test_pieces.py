"""Texts encoded by their pieces: always the ids that the library gives for the whole text."""

import random

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from minilora.errors import DataError
from minilora.files.shipped import shipped
from minilora.text import pieces
from minilora.text.encoding import PairEncoder, encode_both
from minilora.text.pieces import SPLITS, Pieces, cuts_at_spaces
from minilora.text.tokenizer import TextTokenizer, load_tokenizer

CORPUS = [
    "the quick brown fox jumps over the lazy dog's tail", "Where does Bess Moss live? 12 or 345 boats!\n\nAt sea, ",
    "naïve café", "  def f(x):\n        return x ** 2\r\n", "мир и море, 中文 字 ۳ ٤",
] * 3  # fmt: skip
BITS = [
    "the", " the", " ", "  ", "\n", " \n", "\t", "fox", "'s", " 's", "12", " 345", "é", " é", "e\u0301", " \u0301", 
    "мир", "中文", "\u00a0", "\u2028", "\x1c", "\x85", "\u3000", "👩\u200d👧", "<|end|>",
    " <|end|> ", "<|turn|>", " <|turn|>",
    "<w>", " <w>", "x<w>", "!", " !", "...", " (", "۳", " ٤", "\u200b", "\ufeff", "\x00", "\r\n", "_", " _",
]  # fmt: skip
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
KINDS = {
    "gpt2": GPT2,
    "one digit at a time": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2]),
    "digits together": pre_tokenizers.Sequence([pre_tokenizers.Digits(), GPT2]),
    "qwen": pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLITS[0]), "isolated"), BYTES]),
    "llama 3": pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLITS[1]), "isolated"), BYTES]),
}
OTHERS = {
    "a space in front": pre_tokenizers.ByteLevel(add_prefix_space=True),
    "another regular expression": pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\w+ \w+|\s+"), "isolated"), BYTES]
    ),
    "matches removed": pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLITS[0]), "removed"), BYTES]),
    "no split at all": BYTES,
    "metaspace": pre_tokenizers.Metaspace(),
    "none": None,
}


def trained(pre_tokenizer, normalizer=None, tokens=(), **options) -> TextTokenizer:
    inner = Tokenizer(models.BPE(**options))
    inner.decoder = decoders.ByteLevel()
    if pre_tokenizer is not None:
        inner.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        inner.normalizer = normalizer
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)  # fmt: skip
    inner.train_from_iterator(CORPUS, trainer)
    inner.add_special_tokens([AddedToken("<|end|>", lstrip=True, rstrip=True), "<|turn|>"])
    inner.add_tokens([AddedToken("<w>", single_word=True), *tokens])
    return TextTokenizer(inner)


def random_texts(number, seed=0):
    rng = random.Random(seed)
    return ["".join(rng.choices(BITS, k=rng.choice([0, 1, 3, 10, 40]))) for _ in range(number)]


def whole(tokenizer, texts):
    return [tokenizer.inner.encode(text, add_special_tokens=False).ids for text in texts]


@pytest.mark.slow
@pytest.mark.parametrize("normalizer", [None, normalizers.NFC()])
@pytest.mark.parametrize("kind", KINDS)
def test_the_ids_are_those_of_the_whole_text(kind, normalizer):
    tokenizer = trained(KINDS[kind], normalizer)
    assert cuts_at_spaces(tokenizer.inner)
    texts = random_texts(3000)
    assert tokenizer.encode_all(texts * 3) == whole(tokenizer, texts) * 3
    assert tokenizer._pieces.later  # not because the library encoded whole texts
    assert tokenizer.encode_all(texts[::-1]) == whole(tokenizer, texts[::-1])  # now from memory


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_response_has_the_ids_that_it_has_behind_its_prompt(kind):
    tokenizer = trained(KINDS[kind])
    befores, afters = random_texts(2000, seed=2), random_texts(2000, seed=3)
    texts = [([], *both, []) for both in zip(befores, afters, strict=True)]
    assert PairEncoder(None).many(texts, tokenizer) == [encode_both(*text[1:3], tokenizer) for text in texts]
    assert sum(tokenizer.last_cut(before) > 0 for before in befores) > 200


@pytest.mark.parametrize("kind", OTHERS)
def test_any_other_tokenizer_encodes_whole_texts(kind):
    tokenizer = trained(OTHERS[kind])
    assert not cuts_at_spaces(tokenizer.inner)
    texts = random_texts(200)
    assert tokenizer.encode_all(texts) == whole(tokenizer, texts)


@pytest.mark.parametrize(
    "changed",
    [
        {"normalizer": normalizers.NFKC()},
        {"normalizer": normalizers.Replace(" ", "_")},
        {"dropout": 0.5},
        {"tokens": ["new york"]},
    ],
)
def test_a_rule_that_may_reach_over_a_space_is_seen(changed):
    assert not cuts_at_spaces(trained(GPT2, **changed).inner)


def test_no_other_model_is_cut():
    inner = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    inner.pre_tokenizer = GPT2
    assert not cuts_at_spaces(inner)


def test_the_shipped_base_is_cut():
    tokenizer = load_tokenizer(shipped("base"))
    assert cuts_at_spaces(tokenizer.inner)
    texts = ["Where does Bess Moss live?\nOn the quay. <|endoftext|> Next", *random_texts(500, seed=1)]
    assert tokenizer.encode_all(texts) == whole(tokenizer, texts)


def test_a_piece_is_encoded_once():
    asked = []

    def encode(texts):
        asked.extend(texts)
        return [[len(text)] for text in texts]

    known = Pieces(load_tokenizer(shipped("base")).inner, encode)
    assert known.encode_all(["a sea of tea"] * 3 + ["of tea"]) == [[1, 4, 3, 4]] * 3 + [[2, 4]]
    assert known.encode_all(["a sea"]) == [[1, 4]]
    assert sorted(asked) == [" of", " sea", " tea", "a", "of"]


def test_texts_of_which_most_words_are_new_are_encoded_whole():
    tokenizer = load_tokenizer(shipped("base"))
    texts = [f"{n:x} {n + 1:x} {n + 2:x}" for n in range(0, 3000, 3)]
    assert tokenizer.encode_all(texts) == whole(tokenizer, texts)
    assert tokenizer._pieces.size == 0


def test_what_is_remembered_has_a_bound(monkeypatch):
    monkeypatch.setattr(pieces, "MOST", 100)
    tokenizer = load_tokenizer(shipped("base"))
    for number in range(50):
        texts = [f"boat {number} is at sea {number}"] * 3
        assert tokenizer.encode_all(texts) == whole(tokenizer, texts)
    assert tokenizer._pieces.size < 200


def test_a_text_without_ids_is_one_line():
    with pytest.raises(DataError, match="cannot encode"):
        load_tokenizer(shipped("base")).encode_all(["a sea", "half \ud800 of a pair"])
