"""From files to batches: the tokenizer, plain text, prompt and response pairs, and batches that can be resumed.

A batch is (ids, labels), both (B, T) int64 on the host and not yet shifted (`model.loss` shifts). The prompt is masked
out of the loss: its labels, and those of the padding on the right, are -100.
"""

import numpy as np

from ..errors import DataError
from ..ops.loss import IGNORE
from .encoding import check_lengths, encode_pair

# ---- tokenizer


# ---- files


# ---- framing: what a model reads and what it writes


def pad_pairs(pairs, pad_id: int) -> tuple[np.ndarray, np.ndarray]:  # -> ids (B, T), labels (B, T)
    """Right-padded ids of (prompt ids, response ids) pairs, and labels that are -100 on prompt and padding."""
    longest = max(len(prompt) + len(response) for prompt, response in pairs)
    ids = np.full((len(pairs), longest), pad_id, dtype=np.int64)
    labels = np.full((len(pairs), longest), IGNORE, dtype=np.int64)
    for row, (prompt, response) in enumerate(pairs):
        end = len(prompt) + len(response)
        ids[row, :end] = prompt + response
        labels[row, len(prompt) : end] = response
    return ids, labels


# ---- batches: endless, reproducible, resumable


class TextBatches:
    """Endless batches of windows that begin at random places of a text. `state()` is JSON, `restore` goes on."""

    def __init__(self, ids, batch_size: int, seq_len: int, rng: np.random.Generator):
        self.ids = np.asarray(ids, dtype=np.int64)
        self.batch_size, self.seq_len, self.rng = batch_size, seq_len, rng
        if len(self.ids) < seq_len:
            raise DataError(f"the text has {len(self.ids):,} tokens, expected at least {seq_len} (one window)")

    def __iter__(self):
        return self

    def __next__(self) -> tuple[np.ndarray, np.ndarray]:  # ids (B, T), labels (B, T)
        starts = self.rng.integers(0, len(self.ids) - self.seq_len + 1, self.batch_size)
        ids = self.ids[starts[:, None] + np.arange(self.seq_len)]
        return ids, ids.copy()

    def state(self) -> dict:
        return {"rng": self.rng.bit_generator.state}

    def restore(self, state: dict) -> None:
        self.rng.bit_generator.state = state["rng"]


class PairBatches:
    """Endless batches of pairs: every example once in each pass, in a new order. `state()` is JSON, `restore` goes on.

    encode: function example, tokenizer -> (prompt ids, response ids). Raises DataError when an example is longer than
    `max_length` tokens: how many, and which are the first.
    """

    def __init__(
        self, examples, tokenizer, batch_size: int, max_length: int, rng: np.random.Generator, encode=encode_pair
    ):
        self.pairs = [encode(example, tokenizer) for example in examples]
        self.batch_size, self.rng, self.pad_id = batch_size, rng, tokenizer.pad_id
        if not self.pairs:
            raise DataError("no examples to learn from")
        check_lengths(self.pairs, max_length)
        self.order, self.position = np.empty(0, dtype=np.int64), 0
        self.pass_began = rng.bit_generator.state

    def __iter__(self):
        return self

    def __next__(self) -> tuple[np.ndarray, np.ndarray]:  # ids (B, T), labels (B, T)
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
        """Where the pass began and how far it is: the order itself follows from the generator."""
        return {"rng": self.pass_began, "position": self.position}

    def restore(self, state: dict) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.order, self.position = np.empty(0, dtype=np.int64), 0
        if state["position"]:
            self._new_pass()
            self.position = state["position"]


WINDOW = 128  # tokens of one training example cut from plain text; less when the context or the text is shorter


HELD_OUT = 0.05  # share of a person's own data that is kept for validation


def encode_pairs(examples, tokenizer, encode, context):  # -> list of (prompt ids, response ids)
    """Every example as tokens. Raises DataError naming those that cannot be written, or are longer than the context."""
    from .encoding import check_lengths

    pairs = []
    for number, example in enumerate(examples, start=1):
        try:
            pairs.append(encode(example, tokenizer))
        except DataError as error:
            raise DataError(f"example {number}: {error}") from error
    check_lengths(pairs, context)
    return pairs


def split_text(ids, share=HELD_OUT):  # (N,) -> training part, validation part: the end of the text
    cut = len(ids) - int(len(ids) * share)
    return ids[:cut], ids[cut:]


def split_pairs(examples, share=HELD_OUT, most=200, seed=0):  # list -> training list, validation list
    """Hold out whole prompts, so that no validation prompt is trained on with another response."""
    prompts = list(dict.fromkeys(e["prompt"] for e in examples))
    order = np.random.default_rng(seed).permutation(len(prompts))
    held, count = set(), 0
    per_prompt = {}
    for e in examples:
        per_prompt[e["prompt"]] = per_prompt.get(e["prompt"], 0) + 1
    for i in order[: len(prompts) // 2]:
        if count >= min(most, max(1, share * len(examples))):
            break
        held.add(prompts[i])
        count += per_prompt[prompts[i]]
    return [e for e in examples if e["prompt"] not in held], [e for e in examples if e["prompt"] in held]


def text_windows(ids, length, batch_size, most=200):  # (N,) -> list of (ids, labels), each (B, length)
    """The text as windows side by side, `most` at most and spread over it; a rest shorter than a window is left out."""
    length = min(length, len(ids))
    if length < 2:
        return []
    windows = ids[: len(ids) // length * length].reshape(-1, length)
    windows = windows[:: max(1, -(-len(windows) // most))]
    return [(w, w) for w in np.array_split(windows, -(-len(windows) // batch_size))]


def pair_batches(pairs, batch_size, pad_id):  # list of (prompt ids, response ids) -> list of (ids, labels)
    """Every pair once, in order of length: little padding."""
    from .batches import pad_pairs

    pairs = sorted(pairs, key=lambda pair: len(pair[0]) + len(pair[1]))
    return [pad_pairs(pairs[i : i + batch_size], pad_id) for i in range(0, len(pairs), batch_size)]


def training_window(ids, context, length=WINDOW):  # -> int
    """The length of a training window: `length`, or less when the context or the text is shorter.

    Raises DataError when the text is too short to learn from.
    """
    if len(ids) < 16:
        raise DataError(f"the text has {len(ids)} tokens, expected at least 16")
    return min(length, context, len(ids))
