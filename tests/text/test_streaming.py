"""Text while its tokens arrive: the pieces are final, and together they are the text of all tokens."""

import json

import pytest
from commands import tokenizer_text
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from minilora.text.forms import text_after
from minilora.text.streaming import TextStream
from minilora.text.tokenizer import TextTokenizer
from minilora.text.tokenizer_classes import as_llama

MARK = "<|im_end|>\n"


def byte_level():
    inner = Tokenizer.from_str(tokenizer_text())
    inner.add_tokens([AddedToken("<|im_end|>", special=False)])
    return TextTokenizer(inner)


def llama(legacy=False):
    """Words with "▁" for a space, and a token for every byte of what has no word."""
    words = ["<unk>", "<s>", "</s>", "▁", "▁the", "▁a", "a", "b", ".", "</", "<|im_end|>", "<|im", "_end|>"]
    vocab = {w: i for i, w in enumerate(words + [f"<0x{n:02X}>" for n in range(256)])}
    inner = Tokenizer(models.BPE(vocab, [], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    inner.add_special_tokens(["<unk>", "<s>", "</s>"])
    as_llama(inner, {"legacy": legacy})
    return TextTokenizer(inner)


def word_pieces():
    vocab = {w: i for i, w in enumerate(["[UNK]", "a", "##b", "c", ".", "##im", "<", "|", "'", "s"])}
    inner = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.Whitespace(), decoders.WordPiece()
    return TextTokenizer(inner)


TOKENIZERS = {"bytes": byte_level(), "llama": llama(), "word pieces": word_pieces()}


def streamed(prompt, answer, tokenizer, behind=""):
    stream, pieces = TextStream(prompt, tokenizer, behind), []
    for token in answer:
        pieces.append(stream.push(token))
        if stream.ended:
            break
    return [*pieces, stream.finish()]


@pytest.mark.slow
@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("behind", ["", MARK, "\n", ".a", "a"])
@given(data=st.data())
def test_the_pieces_together_are_the_text_of_all_tokens(name, behind, data):
    tokenizer = TOKENIZERS[name]
    ids = st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=30)
    prompt, answer = data.draw(ids.filter(bool)), data.draw(ids)
    whole = text_after(prompt, prompt + answer, tokenizer, behind)
    assert "".join(streamed(prompt, answer, tokenizer, behind)) == whole


@given(st.text(max_size=20), st.text(max_size=20))
def test_the_pieces_of_a_text_are_the_text(before, text):
    tokenizer = TOKENIZERS["bytes"]
    pieces = streamed(tokenizer.encode("x" + before), tokenizer.encode(text), tokenizer)
    assert "".join(pieces) == tokenizer.decode(tokenizer.encode(text))


def test_a_character_is_held_back_until_it_is_complete():
    tokenizer = TOKENIZERS["bytes"]
    ids = [tokenizer.encode("€")[0:1], tokenizer.encode("€")[1:2], tokenizer.encode("€")[2:]]
    assert streamed([65], sum(ids, []), tokenizer) == ["", "", "€", ""]


def test_a_run_of_byte_tokens_is_held_back_because_a_later_one_may_change_the_earlier():
    tokenizer = TOKENIZERS["llama"]
    byte = lambda n: tokenizer.inner.token_to_id(f"<0x{n:02X}>")  # noqa: E731
    word = tokenizer.inner.token_to_id("▁a")
    assert streamed([word], [byte(0xC3), byte(0xA9), word], tokenizer) == ["", "", "é a", ""]
    assert streamed([word], [byte(0xC3), byte(0xA9), byte(0xFF), word], tokenizer) == [
        "",
        "",
        "",
        "\ufffd" * 3 + " a",
        "",
    ]


def test_what_may_be_the_start_of_the_mark_is_held_back_and_nothing_follows_the_mark():
    tokenizer = TOKENIZERS["bytes"]
    letters = lambda text: [tokenizer.encode(c)[0] for c in text]  # noqa: E731
    assert "".join(streamed([65], letters("a<|im_end|>b"), tokenizer, MARK)) == "a"
    assert streamed([65], letters("a<|b"), tokenizer, MARK) == ["a", "", "", "<|b", ""]
    assert streamed([65], letters("a<|"), tokenizer, MARK) == ["a", "", "", "<|"]


def test_a_mark_that_is_one_token_ends_the_text():
    tokenizer = TOKENIZERS["bytes"]
    mark = tokenizer.inner.token_to_id("<|im_end|>")
    stream = TextStream([65], tokenizer, MARK)
    assert (stream.push(66), stream.push(mark), stream.ended, stream.finish()) == (tokenizer.decode([66]), "", True, "")


def test_a_long_prompt_is_decoded_once_and_not_for_every_token():
    tokenizer, lengths = byte_level(), []
    decode = tokenizer.decode
    tokenizer.decode = lambda ids: lengths.append(len(ids)) or decode(ids)
    streamed(tokenizer.encode("abc " * 200), tokenizer.encode("and so it goes on. " * 20), tokenizer)
    assert sum(n > 100 for n in lengths) <= 2


def test_an_end_token_is_no_text():
    vocab = json.loads(tokenizer_text())["model"]["vocab"]
    assert "<|endoftext|>" in vocab
    assert streamed([65], [66, vocab["<|endoftext|>"]], TOKENIZERS["bytes"])[1:] == ["", ""]


def test_what_the_form_writes_between_an_answer_and_the_end_token_is_no_part_of_the_answer():
    tokenizer = TOKENIZERS["bytes"]
    letters = lambda text: [tokenizer.encode(c)[0] for c in text]  # noqa: E731
    for behind in ("\n===\n", "\n\n", "."):
        ended = [*letters("a" + behind + "b" + behind), tokenizer.eos_id]
        assert "".join(streamed([65], ended, tokenizer, behind)) == "a" + behind + "b"
        assert "".join(streamed([65], ended[:-1], tokenizer, behind)) == "a" + behind + "b" + behind
        stream = TextStream([65], tokenizer, behind)
        assert "".join(map(stream.push, ended[:-1])) + stream.finish(by_end_token=True) == "a" + behind + "b"
