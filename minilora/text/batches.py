"""Batches of tokens for training and for measuring a loss, and the examples that are held out.

A batch is (ids, labels), both (B, T) int64 on the host and not yet shifted: `model.loss` shifts. A label of IGNORE
(-100) does not count; in a pair, prompt and padding have it.
"""

import contextlib
import hashlib
import operator
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np

from ..errors import ConfigError, DataError
from ..ops.loss import IGNORE
from .encoding import PairEncoder, check_lengths, encode_pair, place_of

Pair = tuple[list[int], list[int]]  # prompt ids, response ids
Batch = tuple[np.ndarray, np.ndarray]  # ids (B, T), labels (B, T)

WINDOW = 128  # tokens of a training window; fewer when the context or the text is shorter
MOST_IN_A_BATCH = 1_000_000  # a larger number is a mistake, and would seem to hang
TOGETHER = 1_000  # examples that are encoded at once
HELD_OUT = 0.05  # share of a user's own data that is held out for the validation loss
MOST_HELD_OUT = 200  # pairs, or windows: more would make an evaluation slow


def pad_pairs(pairs: list[Pair], pad_id: int) -> Batch:
    """Ids of the pairs, padded on the right, and labels that are IGNORE on prompt and padding."""
    longest = max(len(prompt) + len(response) for prompt, response in pairs)
    ids = np.full((len(pairs), longest), pad_id, dtype=np.int64)
    labels = np.full((len(pairs), longest), IGNORE, dtype=np.int64)
    for row, (prompt, response) in enumerate(pairs):
        end = len(prompt) + len(response)
        ids[row, :end] = prompt + response
        labels[row, len(prompt) : end] = response
    return ids, labels


# ---- for training: endless, reproducible, resumable


class TextBatches:
    """Endless batches of windows that begin at random positions of a text. `state()` is JSON; `restore` goes on.

    Raises DataError when the text is shorter than a window.
    """

    def __init__(self, ids, batch_size: int, seq_len: int, rng: np.random.Generator):
        check_batch_size(batch_size)
        self.ids = np.asarray(ids)  # (N,) as they are, int32: a long text is not copied
        self.batch_size, self.seq_len, self.rng = batch_size, seq_len, rng
        if len(self.ids) < seq_len:
            raise DataError(f"the text has {len(self.ids):,} tokens, expected at least {seq_len} (one window)")

    def __iter__(self):
        return self

    def __next__(self) -> Batch:
        starts = self.rng.integers(0, len(self.ids) - self.seq_len + 1, self.batch_size)
        ids = self.ids[starts[:, None] + np.arange(self.seq_len)].astype(np.int64)
        return ids, ids.copy()

    def state(self) -> dict:
        return {"rng": self.rng.bit_generator.state}

    def restore(self, state: dict) -> None:
        self.rng.bit_generator.state = state["rng"]


class PairBatches:
    """Endless batches of pairs: each pass has every pair once, in a new order. `state()` is JSON; `restore` goes on.

    encode: function (example, tokenizer) -> (prompt ids, response ids). Raises DataError for no examples, one that
    cannot be encoded, or some that are longer than `max_length` tokens.
    """

    def __init__(
        self,
        examples,
        tokenizer,
        batch_size: int,
        max_length: int,
        rng: np.random.Generator,
        encode: Callable = encode_pair,
    ):
        check_batch_size(batch_size)
        self.pairs = encode_pairs(examples, tokenizer, encode, max_length)
        self.batch_size, self.rng, self.pad_id = batch_size, rng, tokenizer.pad_id
        if not self.pairs:
            raise DataError("no examples to learn from")
        self.order, self.position = np.empty(0, dtype=np.int64), 0
        self.pass_began = rng.bit_generator.state

    def __iter__(self):
        return self

    def __next__(self) -> Batch:
        return pad_pairs([self.pairs[self._next_index()] for _ in range(self.batch_size)], self.pad_id)

    def _next_index(self) -> int:
        if self.position == len(self.order):
            self._new_pass()
        self.position += 1
        return int(self.order[self.position - 1])

    def _new_pass(self) -> None:
        self.pass_began = self.rng.bit_generator.state
        self.order, self.position = self.rng.permutation(len(self.pairs)), 0

    def state(self) -> dict:
        """The generator at the start of this pass, from which the order follows, and the position in the pass."""
        return {"rng": self.pass_began, "position": self.position}

    def restore(self, state: dict) -> None:
        """Go on from what `state` gave. Raises KeyError, ValueError or TypeError for anything else."""
        self.rng.bit_generator.state = state["rng"]
        self.order, self.position = np.empty(0, dtype=np.int64), 0
        position = operator.index(state["position"])
        if not 0 <= position <= len(self.pairs):
            raise ValueError
        if position:
            self._new_pass()
            self.position = position


def check_batch_size(batch_size: int) -> None:
    if not 1 <= batch_size <= MOST_IN_A_BATCH:
        expected = "at least 1" if batch_size < 1 else f"at most {MOST_IN_A_BATCH:,}"
        raise ConfigError(f"batch size {batch_size}: expected {expected}")


def training_window(ids, context: int, length: int = WINDOW) -> int:  # ids (N,)
    """`length`, or less when the context or the text is shorter. Raises DataError for a text too short to train on."""
    if len(ids) < 16:
        raise DataError(f"the text has {len(ids)} tokens, expected at least 16")
    return min(length, context, len(ids))


# ---- for a loss: every token once


def text_windows(ids, length: int, batch_size: int, most: int = MOST_HELD_OUT) -> list[Batch]:  # ids (N,)
    """Windows of the text, side by side; of more than `most` a part, evenly spread. A shorter rest is left out."""
    length = min(length, len(ids))
    if length < 2:
        return []
    windows = ids[: len(ids) // length * length].reshape(-1, length)
    windows = windows[:: max(1, -(-len(windows) // most))].astype(np.int64)
    return [(w, w) for w in np.array_split(windows, -(-len(windows) // batch_size))]


def pair_batches(pairs: list[Pair], batch_size: int, pad_id: int) -> list[Batch]:
    """Every pair once, sorted by length, so that there is little padding."""
    pairs = sorted(pairs, key=lambda pair: len(pair[0]) + len(pair[1]))
    return [pad_pairs(pairs[i : i + batch_size], pad_id) for i in range(0, len(pairs), batch_size)]


def encode_pairs(examples: Sequence[dict], tokenizer, encode, context: int) -> list[Pair]:
    """Every example as tokens. Raises DataError naming one that cannot be encoded, or those that are too long."""
    pairs: list[Pair] = []
    for start in range(0, len(examples), TOGETHER):
        numbers = range(start, min(start + TOGETHER, len(examples)))
        if isinstance(encode, PairEncoder):
            texts = _of_each(examples, numbers, encode.texts, tokenizer)
            with contextlib.suppress(DataError):  # one of them has no ids: encoded one by one, it is named
                pairs += encode.many(texts, tokenizer)
                continue
        pairs += _of_each(examples, numbers, encode, tokenizer)
    check_lengths(pairs, context, examples)
    return pairs


def _of_each(examples, numbers, function, tokenizer) -> list:
    found = []
    for n in numbers:
        try:
            found.append(function(examples[n], tokenizer))
        except DataError as error:
            raise DataError(f"{place_of(examples, n)}: {error}") from error
    return found


def text_digest(*texts) -> str:  # each (N,)
    """A digest of the ids of texts, the same for every integer type: by it a run that goes on knows its data."""
    digest = hashlib.sha256()
    for ids in texts:
        for start in range(0, len(ids), 2**20):  # in parts: a long text is not copied whole
            digest.update(ids[start : start + 2**20].astype("<i8").tobytes())
    return digest.hexdigest()


def pairs_digest(pairs: list[Pair]) -> str:
    """The same of pairs, each with the lengths of its two sides."""
    parts = chain.from_iterable(((len(prompt), len(response)), prompt, response) for prompt, response in pairs)
    return text_digest(np.fromiter(chain.from_iterable(parts), dtype=np.int64))


# ---- what is held out


def split_text(ids, share: float = HELD_OUT):  # (N,) -> (N - M,) to train on, (M,) the end of the text
    cut = len(ids) - int(len(ids) * share)
    return ids[:cut], ids[cut:]


def split_pairs(
    examples: Sequence[dict], share: float = HELD_OUT, most: int = MOST_HELD_OUT, seed: int = 0
) -> tuple[list[dict], list[dict]]:
    """Examples to train on, and those held out. All examples of a prompt are on the same side.

    Otherwise the validation loss would be measured on prompts that were trained on with another response.
    """
    questions = [_question(example) for example in examples]
    count = Counter(questions)  # in order of first appearance
    prompts, wanted = list(count), min(most, max(1, share * len(examples)))
    order = np.random.default_rng(seed).permutation(len(prompts))
    held = set()
    for i in order[: len(prompts) // 2]:
        if sum(count[p] for p in held) >= wanted:
            break
        held.add(prompts[i])
    train, held_out = [], []
    for example, question in zip(examples, questions, strict=True):
        (held_out if question in held else train).append(example)
    return train, held_out


def _question(example: dict) -> str:
    return example["prompt"] or example["response"]  # a row of plain text has no prompt
