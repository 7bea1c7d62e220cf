"""A tokenizer trained on a few lines: it reads any text, counts digit by digit, and stays within its size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from minilora.errors import ConfigError
from minilora.text.tokenizer import END, PAD, TextTokenizer
from minilora.text.train_tokenizer import train_tokenizer

LINES = ["the sea is grey and the boat is old, 1999.\n", "the tea is hot in 2024.\n"] * 20
TOKENIZER = TextTokenizer(Tokenizer.from_str(train_tokenizer(LINES, 280)))


@given(st.text(max_size=30).filter(lambda text: END not in text and PAD not in text))
def test_any_text_is_known_and_comes_back(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


def test_every_digit_is_a_token_of_its_own():
    assert len(TOKENIZER.encode("1999")) == 4


def test_frequent_words_are_fewer_tokens_than_letters():
    assert len(TOKENIZER.encode("the sea")) < len("the sea")


def test_it_has_as_many_tokens_as_asked_and_fewer_when_the_texts_give_no_more():
    assert TOKENIZER.vocab_size == 280
    assert 256 < TextTokenizer(Tokenizer.from_str(train_tokenizer(["ab ab"], 5000))).vocab_size < 270


def test_the_end_is_token_0_and_the_padding_token_1():
    assert (TOKENIZER.eos_id, TOKENIZER.pad_id) == (0, 1)


@pytest.mark.parametrize("between", [END, f"\n{END}\n", f" {END}\n"])
def test_the_end_mark_swallows_the_line_breaks_around_it(between):
    assert TOKENIZER.encode(f"tea{between}sea") == [*TOKENIZER.encode("tea"), 0, *TOKENIZER.encode("sea")]


def test_the_same_texts_give_the_same_tokenizer():
    assert train_tokenizer(LINES, 280) == train_tokenizer(LINES, 280)


def test_a_size_that_nobody_means_is_refused_before_the_library_ends_the_process():
    with pytest.raises(ConfigError, match="a vocabulary of 4,294,967,296 tokens: expected at most 2,000,000"):
        train_tokenizer(["ab"], 2**32)
