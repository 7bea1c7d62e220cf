"""From files to batches: the tokenizer, plain text, prompt and response pairs, and batches that can be resumed.

A batch is (ids, labels), both (B, T) int64 on the host and not yet shifted (`model.loss` shifts). The prompt is masked
out of the loss: its labels, and those of the padding on the right, are -100.
"""

import json
from pathlib import Path

import numpy as np

from .errors import DataError, FormatError, MissingFileError
from .files import read_json

IGNORE = -100
END, PAD = "<|endoftext|>", "<|pad|>"
ROLES = ("system", "user", "assistant")


# ---- tokenizer


class TextTokenizer:
    """tokenizer.json, and the ids that batches need. `<|endoftext|>` written in a text is read as the end token.

    end: the name of the end token; without one that the tokenizer knows, it is one of the usual names.
    start: the ids that tokenizer.json puts in front of every text, the BOS of many models.
    """

    def __init__(self, inner, end=None):
        self.inner = inner
        self.vocab_size = inner.get_vocab_size()
        self.eos_id = next(
            (
                i
                for name in (end, END, "</s>", "<|end_of_text|>", "<|im_end|>")
                if isinstance(name, str) and (i := inner.token_to_id(name)) is not None
            ),
            None,
        )
        self.pad_id = inner.token_to_id(PAD)
        if self.pad_id is None:
            self.pad_id = self.eos_id or 0  # padding is masked: any id will do
        framed = inner.encode("a")
        self.start = framed.ids[: framed.special_tokens_mask.index(0)] if 0 in framed.special_tokens_mask else []

    def encode(self, text: str) -> list[int]:
        return self.inner.encode(text, add_special_tokens=False).ids

    def decode(self, ids) -> str:
        """The text of the ids; the end token and padding are left out."""
        return self.inner.decode([int(i) for i in ids], skip_special_tokens=True)


def load_tokenizer(path) -> TextTokenizer:
    """Read a tokenizer.json, or the one in a folder, whose tokenizer_config.json then names the end token.

    Raises MissingFileError, FormatError.
    """
    from tokenizers import Tokenizer

    path, settings = Path(path), {}
    if path.is_dir():
        named = path / "tokenizer_config.json"
        settings = read_json(named) if named.is_file() else {}
        older = next((name for name in ("tokenizer.model", "vocab.json") if (path / name).is_file()), None)
        if older and not (path / "tokenizer.json").is_file():
            raise MissingFileError(
                f"no tokenizer.json in {path}, only {older}: where transformers is, "
                "AutoTokenizer.from_pretrained(folder).save_pretrained(folder) writes one"
            )
        path = path / "tokenizer.json"
    text = _read(path)
    end = settings.get("eos_token")
    try:
        return TextTokenizer(Tokenizer.from_str(text), end.get("content") if isinstance(end, dict) else end)
    except Exception as error:  # the library raises plain Exception
        raise FormatError(f"{path}: not a tokenizer.json: {str(error).splitlines()[0][:160]}") from error


# ---- files


def _read(path) -> str:
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path} is a folder, expected a file" if path.is_dir() else f"no such file: {path}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def read_text(paths) -> str:
    """Plain text of one file or several, joined by the end mark. Raises MissingFileError, DataError (empty)."""
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    texts = [_read(path) for path in paths]
    for path, text in zip(paths, texts, strict=True):
        if not text.strip():
            raise DataError(f"{path} is empty, expected text")
    return f"\n{END}\n".join(texts)


def read_jsonl(path) -> list[dict]:
    """Examples, one JSON object a line: {"prompt": str, "response": str, ...} or {"messages": [...]}; blank lines pass.

    In the chat form the last message is the assistant's and becomes the response; the texts before it, a line each, the
    prompt. Raises DataError naming the line, or saying that the file is empty; MissingFileError.
    """
    examples = []
    for number, line in enumerate(_read(path).split("\n"), start=1):
        if line.strip():
            try:
                examples.append(_example(json.loads(line)))
                json.dumps(examples[-1], ensure_ascii=False).encode()  # what is no text shows here
            except (ValueError, RecursionError) as error:  # DataError and bad JSON are ValueErrors
                what = f"not JSON ({error.msg})" if isinstance(error, json.JSONDecodeError) else str(error)
                if isinstance(error, UnicodeEncodeError):
                    what = f"{error.object[error.start]!r} is half of a pair of surrogates, which is no text"
                raise DataError(f"{path}, line {number}: {what[:200]}") from error
    if not examples:
        raise DataError(f'{path} is empty, expected lines like {{"prompt": "...", "response": "..."}}')
    return examples


def _example(value) -> dict:
    if not isinstance(value, dict):
        raise DataError(f"expected a JSON object, found {_kind(value)}")
    if "messages" in value:
        return _from_messages(value["messages"])
    for key in ("prompt", "response"):
        if key not in value:
            has = ", ".join(map(repr, list(value)[:6])) or "no keys"
            raise DataError(f'no "{key}"; expected "prompt" and "response", or "messages"; found {has}')
        if not isinstance(value[key], str):
            raise DataError(f'"{key}" is {_kind(value[key])}, expected a string')
    if not value["response"].strip():
        raise DataError('"response" is empty: there is nothing to learn')
    return value


def _from_messages(messages) -> dict:
    if not isinstance(messages, list):
        raise DataError(f'"messages" is {_kind(messages)}, expected a list of at least two')
    for number, message in enumerate(messages, start=1):
        if not isinstance(message, dict) or not isinstance(message.get("content"), str):
            raise DataError(f'message {number} must be an object with "role" and a string "content"')
        if message.get("role") not in ROLES:
            raise DataError(f"message {number} has role {message.get('role')!r}, expected one of {', '.join(ROLES)}")
    if len(messages) < 2:
        raise DataError(f"\"messages\" has {len(messages)}, expected a list of at least two: a user's, the assistant's")
    if messages[-1]["role"] != "assistant" or not messages[-1]["content"].strip():
        raise DataError("the last message must be the assistant's, and not empty: it is what is learned")
    prompt = "\n".join(m["content"] for m in messages[:-1])
    return {"prompt": prompt, "response": messages[-1]["content"], "messages": messages}


def _kind(value) -> str:
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "null")


# ---- framing: what a model reads and what it writes


def frame(prompt: str) -> str:
    """What the model reads before it answers: the prompt and a line break."""
    return prompt.rstrip() + "\n"


def encode_prompt(prompt: str, tokenizer) -> list[int]:
    """The framed prompt, behind what the tokenizer puts in front of every text."""
    return tokenizer.start + tokenizer.encode(frame(prompt))


def encode_pair(example: dict, tokenizer) -> tuple[list[int], list[int]]:
    """(prompt ids, response ids): the response ends with the end token."""
    end = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
    prompt, response = encode_both(frame(example["prompt"]), example["response"], tokenizer)
    return tokenizer.start + prompt, response + end


def encode_both(before: str, after: str, tokenizer) -> tuple[list[int], list[int]]:
    """The ids of two texts as they are in one text; each by itself where the seam would change the first one's."""
    first, whole = tokenizer.encode(before), tokenizer.encode(before + after)
    return first, whole[len(first) :] if whole[: len(first)] == first else tokenizer.encode(after)


def encode_text(text: str, tokenizer) -> np.ndarray:  # -> (N,) int64
    """Token ids of plain text; an end mark in it becomes the end token, whatever it is called there."""
    parts = [text] if tokenizer.inner.token_to_id(END) is not None else [p.strip() for p in text.split(END)]
    end = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
    ids = tokenizer.start + tokenizer.encode(parts[0])
    for part in parts[1:]:
        ids += end + tokenizer.start + tokenizer.encode(part)
    return np.asarray(ids, dtype=np.int64)


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


def check_lengths(pairs, max_length: int) -> None:
    """Refuse pairs longer than the context: nothing is ever cut silently."""
    long = [
        (number, len(prompt) + len(response))
        for number, (prompt, response) in enumerate(pairs, start=1)
        if len(prompt) + len(response) > max_length
    ]
    if long:
        named = ", ".join(f"example {number} ({length} tokens)" for number, length in long[:3])
        more = f" and {len(long) - 3} more" if len(long) > 3 else ""
        raise DataError(
            f"{len(long)} of {len(pairs)} examples are longer than the context of {max_length} tokens: "
            f"{named}{more}; shorten or remove them"
        )
