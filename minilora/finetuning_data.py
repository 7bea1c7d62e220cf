"""The data of a fine-tuning: which files, how many rows, what is held out, batches to train on."""

import contextlib
import gc
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .display.progress import show_progress
from .errors import ConfigError, nearest
from .tasks.shipped import get_task
from .text.batches import (
    WINDOW,
    PairBatches,
    TextBatches,
    encode_pairs,
    pair_batches,
    pairs_digest,
    split_pairs,
    split_text,
    text_digest,
    text_windows,
    training_window,
)
from .text.encoding import encode_text
from .text.examples import Paths, check_examples, path_names, read_jsonl, read_text
from .text.rows import every_answer, recognised

KINDS = {".jsonl": "jsonl", ".json": "jsonl", ".txt": "text"}  # the end of a file's name -> how it is read


@dataclass
class Data:
    """batches: to train on, endless; valid: batches held out; rows: pairs, or windows of a text, in one pass."""

    batches: Any
    valid: list
    rows: int
    held_out: int
    digest: str
    longest: int  # tokens of a row with padding
    form: str = ""  # of a user's own rows, in words
    system: str | None = None  # the system message that every row begins with

    def steps(self, epochs: float, rows_a_step: int) -> int:
        """Optimizer steps in so many passes, rounded up. Raises ConfigError for less than a part of a pass."""
        if not (math.isfinite(epochs) and epochs > 0):
            raise ConfigError(f"epochs = {epochs}: expected a number above 0")
        return math.ceil(epochs * self.rows / rows_a_step)


def kind_of_files(files: Paths) -> str:
    """ "jsonl" or "text", by the ends of the names. Raises ConfigError for another end, or for files of both kinds."""
    kinds = {}
    for file in path_names(files):
        end = Path(file).suffix.lower()
        if end not in KINDS:
            raise ConfigError(
                f"{file}: expected a name that ends in {nearest(end, KINDS)}; or name it with text or jsonl"
            )
        kinds.setdefault(KINDS[end], file)
    if len(kinds) > 1:
        raise ConfigError(f"{' and '.join(kinds.values())} are of two kinds; expected examples or plain text")
    return next(iter(kinds))


class Shortened:
    """Rows of at most `length` tokens. Of a longer one the end of the answer is cut off; one whose question alone is as
    long is left out."""

    def __init__(self, encode: Callable, length: int):
        self.encode_whole, self.length, self.pairs, self.cut, self.left_out = encode, length, {}, 0, 0

    def kept(self, examples: list, tokenizer) -> list:
        """The examples that have room for a part of the answer."""
        kept = []
        pairs = encode_pairs(examples, tokenizer, self.encode_whole, sys.maxsize)
        for example, (prompt, response) in zip(examples, pairs, strict=True):
            if len(prompt) < self.length:
                kept.append(example)
                self.pairs[id(example)] = prompt, response[: self.length - len(prompt)]
                self.cut += len(prompt) + len(response) > self.length
        self.left_out += len(examples) - len(kept)
        return kept

    def encode(self, example, tokenizer):  # -> prompt ids, response ids
        return self.pairs[id(example)]

    def told(self) -> str:
        return f"; {self.cut:,} are cut to {self.length} tokens, {self.left_out:,} left out (the question is as long)"


def common_system(examples: Sequence[dict]) -> str | None:
    """The system message that every example begins with; None when there is none, or there are several."""
    first = [example.get("messages", [{}])[0] for example in examples]
    found = {message["content"] if message.get("role") == "system" else None for message in first}
    return found.pop() if len(found) == 1 else None


@contextlib.contextmanager
def without_collector():
    """Python's collector of circles does not run: it would walk again and again through all rows, which have none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@without_collector()
def read_data(settings, examples, tokenizer, encode, context) -> Data:
    """The data that `settings` names. settings["valid"]: files that are held out, else a part of the data is."""
    rng, size = np.random.default_rng([settings["seed"], 2]), settings["batch_size"]
    if settings["text"]:
        each = partial(show_progress, what="tokens")
        ids = encode_text(read_text(settings["text"]), tokenizer, each)
        if settings["valid"]:
            train, held_out = ids, encode_text(read_text(settings["valid"]), tokenizer, each)
        else:
            train, held_out = split_text(ids)
        window = training_window(train, context, settings.get("max_length") or WINDOW)
        batches, valid = TextBatches(train, size, window, rng), text_windows(held_out, window, size)
        digest = text_digest(ids, *([held_out] if settings["valid"] else []))
        rows, held = len(train) // window, sum(len(ids) for ids, _ in valid)
        return Data(batches, valid, rows, held, digest, window)
    if settings["task"]:
        task = get_task(settings["task"])
        train, held_out = task.examples("train"), task.examples("valid")
    else:
        if examples is None:
            examples = [example for path in settings["jsonl"] for example in read_jsonl(path)]
        train, held_out = check_examples(examples), []
    form, system = "" if settings["task"] else recognised(train), common_system(train)
    if settings["valid"]:
        held_out = [example for path in settings["valid"] for example in read_jsonl(path)]
    if settings["turns"] == "all":
        train, held_out = ([e for example in rows for e in every_answer(example)] for rows in (train, held_out))
    elif any(len(example.get("messages", ())) > 2 and every_answer(example)[1:] for example in train):
        form += "; only the last answer of each is learned (turns all: every answer)"
    if settings.get("max_length"):
        short = Shortened(encode, min(settings["max_length"], context))
        train, held_out = short.kept(train, tokenizer), short.kept(held_out, tokenizer)
        encode, form = short.encode, form + short.told()
    if not (settings["valid"] or settings["task"]):
        pairs = encode_pairs(train, tokenizer, encode, context)  # once; a mistake is named by its place in the file
        encoded = {id(example): pair for example, pair in zip(train, pairs, strict=True)}
        encode = lambda example, _: encoded[id(example)]  # noqa: E731
        train, held_out = split_pairs(train)
    batches = PairBatches(train, tokenizer, size, context, rng, encode)
    pairs = encode_pairs(held_out, tokenizer, encode, context)
    digest = pairs_digest(batches.pairs + pairs)
    longest, valid = max(len(a) + len(b) for a, b in batches.pairs), pair_batches(pairs, size, tokenizer.pad_id)
    return Data(batches, valid, len(batches.pairs), len(pairs), digest, longest, form, system)
