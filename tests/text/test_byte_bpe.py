"""The tokenizer in plain Python has the ids of the library, on shipped text and on any other."""

import json
import random
import unicodedata

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from minilora.errors import FormatError
from minilora.files.shipped import shipped
from minilora.text import tokenizer as reader
from minilora.text.byte_bpe import ByteBPE

SHIPPED = shipped("tokenizer.json").read_text(encoding="utf-8")
PIECES = [
    "<|endoftext|>", "<|pad|>", "<|", " ", "  ", "\n", "\t", "\x1c", "\x85", "\xa0", "\u3000", "'s", "'LL", "don't",
    "a", "Zoë", "12", "٣", "½", "一", "Ⅷ", "😀", "e\u0301", "_", "--", "\u200b", "\ufeff", "\x00", "กิ",
]  # fmt: skip


@pytest.fixture(scope="module")
def both():
    return ByteBPE(json.loads(SHIPPED)), Tokenizer.from_str(SHIPPED)


def texts(seed, count):
    choose = random.Random(seed)
    for n in range(count):
        if n % 2:
            yield "".join(choose.choice(PIECES) for _ in range(choose.randrange(12)))
        else:
            ranges = (0, 0x80), (0, 0x3000), (0, 0xD800), (0xE000, 0x1FFFF)
            letters = (chr(choose.randrange(*choose.choice(ranges))) for _ in range(choose.randrange(20)))
            yield "".join(
                c for c in letters if unicodedata.category(c) != "Cn"
            )  # Python may know fewer than the library


@pytest.mark.parametrize("name", ["corpus.txt", "corpus_valid.txt"])
def test_shipped_text_has_the_librarys_ids(both, name):
    own, library = both
    text = shipped(name).read_text(encoding="utf-8")[:300_000]
    assert own.encode(text).ids == library.encode(text, add_special_tokens=False).ids


def test_random_text_has_the_librarys_ids(both):
    own, library = both
    for text in texts(0, 4000):
        assert own.encode(text).ids == library.encode(text, add_special_tokens=False).ids, text


@pytest.mark.parametrize("skip", [True, False])
def test_random_ids_have_the_librarys_text(both, skip):
    own, library = both
    choose = random.Random(1)
    for _ in range(1000):
        ids = [choose.randrange(1030) for _ in range(choose.randrange(12))]
        assert own.decode(ids, skip) == library.decode(ids, skip_special_tokens=skip), ids


@pytest.mark.parametrize("space_first", [True, False])
@pytest.mark.parametrize("digits", [True, False])
def test_a_tokenizer_trained_elsewhere_has_the_librarys_ids(space_first, digits):
    library = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=space_first)
    apart = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
    library.pre_tokenizer = apart if digits else byte_level
    library.decoder = decoders.ByteLevel()
    marks = [AddedToken("<s>", lstrip=True, special=True), AddedToken("<s>more", rstrip=True, special=True)]
    words = trainers.BpeTrainer(vocab_size=400, special_tokens=marks, show_progress=False)
    library.train_from_iterator([shipped("corpus_valid.txt").read_text(encoding="utf-8")[:20_000]], words)
    own = ByteBPE(json.loads(library.to_str()))
    for text in [*texts(2, 500), "a <s> b", "a <s>more  b", " <s><s>more"]:
        assert own.encode(text).ids == library.encode(text, add_special_tokens=False).ids, text


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"normalizer": {"type": "NFC"}}, "normalizer"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer"),
        ({"pre_tokenizer": None}, "pre_tokenizer"),
        ({"decoder": {"type": "WordPiece"}}, "decoder"),
        ({"post_processor": {"type": "TemplateProcessing"}}, "post_processor"),
        ({"model": {"type": "Unigram", "vocab": []}}, "Unigram"),
    ],
)
def test_what_is_no_byte_level_bpe_is_refused_by_the_part_that_differs(change, named):
    with pytest.raises(FormatError, match=f"(?s)tokenizers.*{named}"):
        ByteBPE(json.loads(SHIPPED) | change)


def test_a_folders_tokenizer_is_the_same_without_the_library(monkeypatch):
    with_library = reader.load_tokenizer(shipped("base"))
    monkeypatch.setattr(reader, "_inner", lambda text: ByteBPE(json.loads(text)))
    own = reader.load_tokenizer(shipped("base"))
    facts = [(t.vocab_size, t.eos_id, t.pad_id, t.start, t.special_ids("<|endoftext|>a")) for t in (own, with_library)]
    assert facts[0] == facts[1] and type(own.inner) is ByteBPE
    some = ["Where does Ada live?", "", "12 cats<|endoftext|>"]
    assert own.encode_all(some) == with_library.encode_all(some)
