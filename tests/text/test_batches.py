"""Batches: masked prompts, padding on the right, and a state from which a resumed run sees the same batches."""

import json

import numpy as np
import pytest

from minilora.errors import ConfigError, DataError
from minilora.files.shipped import shipped
from minilora.ops.loss import IGNORE
from minilora.text import batches
from minilora.text.batches import PairBatches, TextBatches, encode_pairs, pairs_digest
from minilora.text.encoding import encode_pair, encode_text
from minilora.text.tokenizer import load_tokenizer

EXAMPLES = [{"prompt": f"What is {i}?", "response": "The tide is " + "very " * (i % 4) + "high."} for i in range(7)]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(shipped("tokenizer.json"))


def pairs(tokenizer, seed=3, batch_size=3):
    return PairBatches(EXAMPLES, tokenizer, batch_size, 64, np.random.default_rng(seed))


def test_digits_are_single_tokens(tokenizer):
    assert [tokenizer.decode([i]) for i in tokenizer.encode("1984")] == list("1984")


@pytest.mark.parametrize("text", ["It is 12 metres.", "naïve – 漢字 \t", "  two spaces", "line\n\nline", ""])
def test_encoding_loses_nothing(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_an_answer_is_encoded_as_it_is_after_its_prompt(tokenizer):
    prompt, response = encode_pair({"prompt": "Where does Hattie live?", "response": "On Mill Lane."}, tokenizer)
    assert prompt + response[:-1] == tokenizer.encode("Where does Hattie live?\nOn Mill Lane.")


def test_prompt_and_padding_are_masked_and_the_end_token_is_learned(tokenizer):
    ids, labels = next(pairs(tokenizer, batch_size=7))
    assert ids.dtype == labels.dtype == np.int64 and ids.shape == labels.shape
    for row, target in zip(ids, labels, strict=True):
        learned = np.flatnonzero(target != IGNORE)
        assert np.array_equal(row[learned], target[learned])
        assert tokenizer.decode(row[learned]).startswith("The tide is") and row[learned[-1]] == tokenizer.eos_id
        assert tokenizer.decode(row[: learned[0]]).startswith("What is")
        assert (row[learned[-1] + 1 :] == tokenizer.pad_id).all()


def test_every_example_comes_once_in_each_pass(tokenizer):
    batches = pairs(tokenizer, batch_size=1)
    seen = [tokenizer.decode(next(batches)[0][0]) for _ in range(14)]
    assert len(set(seen[:7])) == 7 and sorted(seen[:7]) == sorted(seen[7:]) and seen[:7] != seen[7:]


@pytest.mark.parametrize("consumed", [0, 1, 3, 5])
def test_a_restored_state_gives_the_same_batches(tokenizer, consumed):
    first = pairs(tokenizer)
    for _ in range(consumed):
        next(first)
    saved = json.loads(json.dumps(first.state()))
    second = pairs(tokenizer, seed=99)
    second.restore(saved)
    for _ in range(6):
        assert all(np.array_equal(a, b) for a, b in zip(next(first), next(second), strict=True))


@pytest.mark.parametrize("position", [16.0, -1, 10**9, "1", None, [1]])
def test_a_position_that_no_pass_has_is_refused(tokenizer, position):
    batches = pairs(tokenizer)
    with pytest.raises((TypeError, ValueError)):
        batches.restore(batches.state() | {"position": position})


def test_a_restored_state_gives_the_same_windows():
    first = TextBatches(np.arange(500), 4, 9, np.random.default_rng(1))
    next(first)
    saved = json.loads(json.dumps(first.state()))
    second = TextBatches(np.arange(500), 4, 9, np.random.default_rng(2))
    second.restore(saved)
    assert all(np.array_equal(next(first)[0], next(second)[0]) for _ in range(4))


def test_windows_are_runs_of_the_text_and_reach_both_ends():
    batches = TextBatches(np.arange(12), 50, 4, np.random.default_rng(0))
    ids, labels = next(batches)
    assert (np.diff(ids, axis=1) == 1).all() and np.array_equal(ids, labels)
    assert ids.min() == 0 and ids.max() == 11


def test_a_text_shorter_than_a_window_is_refused():
    with pytest.raises(DataError, match="has 8 tokens, expected at least 9"):
        TextBatches(np.arange(8), 4, 9, np.random.default_rng(1))


def test_long_examples_are_counted_and_named(tokenizer):
    long = EXAMPLES + [{"prompt": "Why?", "response": "sea " * 80}] * 5
    with pytest.raises(DataError, match=r"5 of 12 examples are longer .* 64 .*example 8 \(.*and 2 more"):
        PairBatches(long, tokenizer, 2, 64, np.random.default_rng(0))


def test_an_example_of_exactly_the_context_is_accepted(tokenizer):
    longest = max(len(p) + len(r) for p, r in (encode_pair(e, tokenizer) for e in EXAMPLES))
    assert PairBatches(EXAMPLES, tokenizer, 2, longest, np.random.default_rng(0)).pairs


def test_end_marks_in_a_text_become_end_tokens(tokenizer):
    ids = encode_text("One.\n<|endoftext|>\nTwo.\n<|endoftext|>\n", tokenizer)
    assert ids.dtype == np.int32
    assert ids.tolist() == [*tokenizer.encode("One."), tokenizer.eos_id, *tokenizer.encode("Two."), tokenizer.eos_id]


@pytest.mark.parametrize("size", [10**9, 10**30])
def test_a_batch_that_nobody_means_is_refused_at_once(size):
    with pytest.raises(ConfigError, match=f"^batch size {size}: expected at most 1,000,000$"):
        TextBatches(np.zeros(30), size, 4, np.random.default_rng(0))


@pytest.mark.parametrize("together", [1000, 1])
def test_a_row_that_the_tokenizer_cannot_encode_is_named_though_rows_are_encoded_together(monkeypatch, together):
    from tokenizers import Tokenizer, models

    from minilora.text.tokenizer import TextTokenizer

    monkeypatch.setattr(batches, "TOGETHER", together)
    words = TextTokenizer(Tokenizer(models.WordLevel({"a\n": 0, "a\nb": 1, "b": 2}, unk_token="?")))
    rows = [{"prompt": "a", "response": "b"}, {"prompt": "a", "response": "c"}]
    with pytest.raises(DataError, match="^example 2: the tokenizer cannot encode this text"):
        encode_pairs(rows, words, encode_pair, 100)
    assert encode_pairs(rows[:1], words, encode_pair, 100) == [([0], [2])]


def test_the_digest_of_pairs_is_of_every_id_and_of_where_the_response_begins():
    pairs = [([1, 2], [3]), ([4], [5, 6])]
    others = [
        [([1], [2, 3]), ([4], [5, 6])],
        [([1, 2], [3]), ([4], [5, 7])],
        [([1, 2], [3])],
        [([4], [5, 6]), ([1, 2], [3])],
    ]
    assert pairs_digest(pairs) == pairs_digest([*pairs])
    assert len({pairs_digest(other) for other in [pairs, *others]}) == 5
