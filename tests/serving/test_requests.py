"""One answer as it grows: what is given out, and when."""

import numpy as np
import pytest

from minilora.files.shipped import shipped
from minilora.serving.requests import Sampling, Sequence, overlap
from minilora.text.streaming import TextStream
from minilora.text.tokenizer import load_tokenizer

TOKENIZER = load_tokenizer(shipped("base"))
TEXT = "Tea is 3 €. Tom said: two, two and two."
END = 1


def answer(text=TEXT, extra=(), behind="", **sampling):
    """The deltas of an answer of these tokens."""
    sequence = Sequence(
        np.array([5]), None, Sampling(**{"max_tokens": 500, **sampling}), frozenset([END]), lambda d: None,
        TextStream([], TOKENIZER, behind), np.random.default_rng(0),
    )  # fmt: skip
    deltas = []
    for token in [*TOKENIZER.encode(text), *extra]:
        deltas.append(sequence.accept(token, None))
        if deltas[-1].finish_reason:
            break
    return deltas


def text_of(deltas):
    return "".join(d.text for d in deltas)


def test_the_end_token_ends_the_answer_and_shows_in_no_text():
    deltas = answer(extra=[END, 9])
    assert text_of(deltas) == TEXT
    assert (deltas[-1].finish_reason, deltas[-1].stop_reason, deltas[-1].tokens) == ("stop", None, (END,))


def test_the_mark_of_the_template_ends_the_answer_also_where_it_is_spelled_in_letters():
    deltas = answer("Yes. <|im_end|>\nAnd more", behind="<|im_end|>\n")
    assert text_of(deltas) == "Yes. "
    assert (deltas[-1].finish_reason, deltas[-1].stop_reason) == ("stop", None)


def test_what_the_template_writes_before_the_end_token_is_no_part_of_the_answer():
    assert text_of(answer("Yes\n==\n", extra=[END], behind="\n==\n")) == "Yes"
    assert text_of(answer("Yes\n==\n", behind="\n==\n", max_tokens=len(TOKENIZER.encode("Yes\n==\n")))) == "Yes\n==\n"


def test_with_ignore_eos_the_end_token_is_a_token():
    deltas = answer(extra=[END, *TOKENIZER.encode(" On.")], ignore_eos=True)
    assert deltas[-1].finish_reason is None and END in [t for d in deltas for t in d.tokens]


@pytest.mark.parametrize("stop", ["two", ".", "€", " and two.", "x", "Tom said: two, three"])
def test_the_text_ends_before_the_first_stop_text(stop):
    deltas = answer(extra=[END], stop=(stop,))
    assert text_of(deltas) == TEXT.partition(stop)[0]
    assert deltas[-1].stop_reason == (stop if stop in TEXT else None)


def test_of_several_stop_texts_the_first_in_the_text_ends_it():
    deltas = answer(extra=[END], stop=("and", "said", "two"))
    assert (text_of(deltas), deltas[-1].stop_reason) == ("Tea is 3 €. Tom ", "said")


def test_what_may_begin_a_stop_text_is_held_back_until_it_is_known():
    seen = ""
    for delta in answer(extra=[END], stop=("two and five",)):
        seen += delta.text
        assert not seen.endswith(" two and") or delta.finish_reason
    assert seen == TEXT


def test_what_is_held_back_is_given_at_the_length():
    count = len(TOKENIZER.encode("Tea is 3 €. Tom said: two"))
    deltas = answer(max_tokens=count, stop=("two, three",))
    assert deltas[-1].finish_reason == "length"
    assert text_of(deltas) == TOKENIZER.decode(TOKENIZER.encode(TEXT)[:count])


def test_a_stop_token_is_named():
    token = TOKENIZER.encode(TEXT)[4]
    deltas = answer(stop_token_ids=(token,))
    assert (deltas[-1].finish_reason, deltas[-1].stop_reason) == ("stop", token)
    assert text_of(deltas) == TOKENIZER.decode(TOKENIZER.encode(TEXT)[:4])


@pytest.mark.parametrize(("text", "stop", "n"), [("ab", "bc", 1), ("aba", "abab", 3), ("", "a", 0), ("a", "a", 0)])
def test_overlap_is_the_longest_beginning_of_the_stop_at_the_end_of_the_text(text, stop, n):
    assert overlap(text, stop) == n
