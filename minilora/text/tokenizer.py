"""Reading a tokenizer.json, and the token ids that training and generation need beside it.

The ids are those of transformers' AutoTokenizer for the same folder: truncation and padding are off, special tokens
come from all the files that name them, and tokenizer_classes.py builds what transformers builds by a class.
"""

import base64
import contextlib
import functools
import json
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, FormatError, MiniloraError, MissingFileError, first_line
from ..files.atomic import read_json, read_utf8
from .byte_bpe import ByteBPE
from .pieces import Pieces, cuts_at_spaces, has_own_regex
from .tokenizer_classes import build_by_class, token_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END, PAD = "<|endoftext|>", "<|pad|>"
END_NAMES = (END, "</s>", "<|end_of_text|>", "<|im_end|>")  # of end tokens, for a tokenizer that does not say which
SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
FLAGS = ("single_word", "lstrip", "rstrip", "normalized")  # of an added token, beside its text
MOST_ROWS = 2**24  # of a vocabulary: the library takes 4 bytes for each id that a file leaves out
LONGEST = 2**21  # characters of a word: the library takes 150 to 300 bytes of memory for each
LONGER = 1000  # times: no tokenizer needs it
SEQUENCES = ("normalizers", "pretokenizers", "processors", "decoders")
BY_STEP = {"ByteLevel": 4, "Metaspace": 2}  # the most characters for one: its bytes; "▁" and itself
# the same of steps that change nothing the second time, unless a step between them undoes the first
ALREADY = {"NFC": 3, "NFD": 4, "NFKC": 18, "NFKD": 18, "Lowercase": 2, "BertNormalizer": 12}
_ASIDE = threading.Lock()  # one thread at a time puts standard error aside


class TextTokenizer:
    """Text to token ids and back. `<|endoftext|>` in a text becomes the end token when the vocabulary has that name.

    inner       tokenizers.Tokenizer, the library's object; its truncation and padding are switched off
    vocab_size  rows that a model needs: the largest id and 1
    eos_id      id of the end token: of the name `end` if it exists, else of the first of END_NAMES; None without any
    pad_id      id for padding: of the name `pad`, else of the file's padding, else of `<|pad|>`; else eos_id, or 0
    start       ids that tokenizer.json puts in front of every text, such as the BOS of many models
    """

    def __init__(self, inner: "Tokenizer", end: str | None = None, pad: str | None = None):
        filled_with = (inner.padding or {}).get("pad_token")
        inner.no_truncation()  # a trainer saves both in tokenizer.json: they would cut a text, or fill it up
        inner.no_padding()
        self.inner = inner
        self.vocab_size = max(inner.get_vocab().values(), default=-1) + 1  # a file may leave out some ids
        self.eos_id: int | None = _first_known(inner, (end, *END_NAMES))
        pad_id = _first_known(inner, (pad, filled_with, PAD))
        self.pad_id: int = (self.eos_id or 0) if pad_id is None else pad_id  # any id will do: the loss masks padding
        self.start: list[int] = _start_ids(inner)

    def encode(self, text: str) -> list[int]:
        """The ids of the text, with nothing in front or behind. Raises DataError for a text that has no ids."""
        _check_words(text)
        with self._library("the tokenizer cannot encode this text"):
            return self.inner.encode(text, add_special_tokens=False).ids

    def encode_all(self, texts: list[str]) -> list[list[int]]:
        """`encode` of every text, faster. Raises DataError when one of them has no ids."""
        return self._pieces.encode_all(texts) if self._pieces else self._encode_batch(texts)

    def last_cut(self, text: str) -> int:
        """A place in the text, near its end, that no id reaches over, whatever is appended; 0 when none is known."""
        return self._pieces.last_cut(text) if self._pieces else 0

    @functools.cached_property
    def _pieces(self) -> Pieces | None:
        return Pieces(self.inner, self._encode_batch) if cuts_at_spaces(self.inner) else None

    def _encode_batch(self, texts):  # by the library, on all cores
        encode = getattr(self.inner, "encode_batch_fast", self.inner.encode_batch)  # without the place of each token
        for text in texts:
            _check_words(text)
        with self._library("the tokenizer cannot encode these texts"):
            return [found.ids for found in encode(texts, add_special_tokens=False)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids, without special tokens such as the end token and padding."""
        with self._library("the tokenizer cannot decode these ids"):
            return self.inner.decode([int(i) for i in ids], skip_special_tokens=True)

    @contextlib.contextmanager
    def _library(self, what):
        with library_errors(DataError, what), no_reports_of_panics() if self._may_panic else contextlib.nullcontext():
            yield

    @functools.cached_property
    def _may_panic(self) -> bool:
        """Whether tokenizer.json has a regular expression of its own: the library panics when a search takes long."""
        return has_own_regex(self.inner)

    def special_ids(self, text: str) -> list[int]:
        """The ids in the text that are tokens of their own, such as `<|im_end|>`: added to the vocabulary, in order."""
        if not text:
            return []
        added = self.inner.get_added_tokens_decoder()
        return [i for i in self.encode(text) if i in added]


def _check_words(text: str) -> None:
    """Raises DataError for a text with a word longer than LONGEST."""
    if len(text) > LONGEST and (longest := max(map(len, text.split()), default=0)) > LONGEST:
        raise DataError(
            f"the text has {longest:,} characters without a space or line break, expected at most {LONGEST:,}: "
            "break it into lines"
        )


def load_tokenizer(path: str | Path) -> TextTokenizer:
    """Read a tokenizer.json, or the one in a folder, with the special tokens that the folder's other files name.

    Raises MissingFileError, DataError for a file that is not UTF-8, FormatError for any other fault in it.
    """
    path, settings, config = Path(path), {}, {}
    if path.is_dir():
        settings = read_token_settings(path)
        config = read_json(path / "config.json") if (path / "config.json").is_file() else {}
        older = next((name for name in ("tokenizer.model", "vocab.json") if (path / name).is_file()), None)
        if older and not (path / "tokenizer.json").is_file():
            raise MissingFileError(
                f"no tokenizer.json in {path}, only {older}: transformers can write one with "
                "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
            )
        path = path / "tokenizer.json"
    text = read_utf8(path, DataError)
    with library_errors(FormatError, f"{path}: not a tokenizer.json"), no_reports_of_panics():
        inner = _inner(text)
        check_growth(inner)
        settings = build_by_class(inner, settings, config)
        add_listed_tokens(inner, settings)
        tokenizer = TextTokenizer(inner, token_text(settings.get("eos_token")), token_text(settings.get("pad_token")))
        if tokenizer.vocab_size > MOST_ROWS:
            raise ValueError(f"it has the id {tokenizer.vocab_size - 1:,}, and no model has so many rows")
        return tokenizer


def _inner(text) -> Any:  # of tokenizer.json -> tokenizers.Tokenizer, or in a browser, where there is none, our own
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return ByteBPE(json.loads(text))
    return Tokenizer.from_str(text)


def check_growth(inner) -> None:
    """Raises ValueError for steps that could make a text LONGER times as long: they would take all memory."""
    for parts in (("normalizer", "pre_tokenizer", "post_processor"), ("decoder",)):
        grows = 1.0
        for part in parts:
            step, kinds = getattr(inner, part, None), set()
            for one in [] if step is None else _steps(json.loads(step.__getstate__())):
                grows *= _growth(one) * (ALREADY.get(one["type"], 1) if one["type"] in kinds else 1)
                kinds.add(one["type"])
            if grows > LONGER:
                raise ValueError(f"its {part} can make a text {grows:.2g} times as long, expected at most {LONGER}")


def _steps(step: dict) -> Iterator[dict]:  # as in tokenizer.json; a Sequence has steps in it
    if step["type"] == "Sequence":
        for one in next(step[key] for key in SEQUENCES if key in step):
            yield from _steps(one)
    else:
        yield step


def _growth(step: dict) -> float:
    kind = step["type"]
    if kind == "Prepend":
        return 1 + len(step["prepend"])
    if kind == "Replace":  # a regular expression may find every character, or the place between two
        found = len(step["pattern"].get("String", "")) or 1
        return max(1, (len(step["content"]) + ("Regex" in step["pattern"])) / found)
    if kind == "Precompiled":  # the size of a table of the rules, the table, and all that a character may become
        rules = base64.b64decode(step["precompiled_charsmap"] or "")
        return max(1, *(len(text) for text in rules[4 + int.from_bytes(rules[:4], "little") :].split(b"\0")))
    if kind in ("BPEDecoder", "CTC"):  # it puts a space for this text; "" is between two characters
        return 1 if step.get("suffix") or step.get("word_delimiter_token") else 2
    if kind == "TemplateProcessing":  # may write a text twice, and special tokens of many ids
        special = [piece["SpecialToken"]["id"] for piece in step["single"] if "SpecialToken" in piece]
        ids = sum(len(step["special_tokens"][name]["ids"]) for name in special)
        return len(step["single"]) - len(special) + ids
    return BY_STEP.get(kind, 1)


def read_token_settings(folder: str | Path) -> dict:
    """tokenizer_config.json and special_tokens_map.json of a folder as one dict.

    The map is the newer word, unless tokenizer_config.json lists `added_tokens_decoder` (transformers reads them so).
    """
    names = ("tokenizer_config.json", "special_tokens_map.json")
    config, named = (read_json(p) if (p := Path(folder) / name).is_file() else {} for name in names)
    return named | config if "added_tokens_decoder" in config else config | named


@contextlib.contextmanager
def library_errors(mistake: type[MiniloraError], what: str) -> Iterator[None]:
    """Turn an error of the tokenizers library into `mistake`: it raises plain Exception, and a panic of its Rust code
    is only a BaseException."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise  # Ctrl-C
        raise mistake(f"{what}: {first_line(error)}") from error


@contextlib.contextmanager
def no_reports_of_panics() -> Iterator[None]:
    """In the block nothing reaches standard error: Rust reports a panic there, in a hundred lines, before it raises."""
    with _ASIDE:
        try:
            kept = os.dup(2)
        except OSError:  # it is closed
            yield
            return
        try:
            with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  a device, not a path
                os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def add_listed_tokens(inner: "Tokenizer", settings: dict) -> None:
    """Make tokens of their own of what the folder's other files name, with the properties that are given there.

    A name that the vocabulary does not have, or has under another id, is left out: the model has no row for it.
    """
    if isinstance(inner, ByteBPE):
        from .byte_bpe import AddedToken
    else:
        from tokenizers import AddedToken

    known, tokens = inner.get_added_tokens_decoder(), []
    for number, token in (settings.get("added_tokens_decoder") or {}).items():
        token = AddedToken(**token)
        if inner.token_to_id(token.content) == int(number) and repr(token) != repr(known.get(int(number))):
            tokens.append(token)
    texts = {token.content for token in [*known.values(), *tokens]}
    more = (settings.get(name) for name in ("extra_special_tokens", "additional_special_tokens"))
    lists = [token for found in more if isinstance(found, list) for token in found]
    for token in [*(settings.get(name) for name in SPECIAL_TOKENS), *lists]:
        text = token_text(token)
        if text is not None and text not in texts and inner.token_to_id(text) is not None:
            flags = {k: v for k, v in token.items() if k in FLAGS} if isinstance(token, dict) else {}
            tokens.append(AddedToken(text, special=True, **flags))
    inner.add_tokens(tokens)


def _first_known(inner, names) -> int | None:
    known = (inner.token_to_id(name) for name in names if isinstance(name, str))
    return next((i for i in known if i is not None), None)


def _start_ids(inner) -> list[int]:
    """The special ids before the first other id of a text. The text is "a", or a word of a vocabulary without it."""
    for words in (lambda: ["a"], lambda: sorted(inner.get_vocab(), key=len)[-8:]):
        for word in words():
            with contextlib.suppress(Exception):  # without an unknown token the library refuses what it does not know
                found = inner.encode(word)
                if 0 in found.special_tokens_mask:
                    return found.ids[: found.special_tokens_mask.index(0)]
    return []
