"""From text to numbers, in plain Python: the byte-level BPE of GPT-2 and its relatives.

    text -> added tokens and the text between them -> words -> bytes, each written as one letter -> pairs merged -> ids

Byte pair encoding (Sennrich et al. 2016): begin with single bytes, and merge the pair that was merged first in
training, until no pair of the word is in the list. The library `tokenizers` does the same and reads every other kind
too; it is used where it is installed, this where it is not (in a browser), and the ids are equal.
"""

import functools
import re
import sys
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace

from ..errors import FormatError

WHITE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
NEEDS_LIBRARY = "without the library `tokenizers` only a byte-level BPE is read (pip install tokenizers): this one has"


@dataclass(frozen=True)
class AddedToken:
    """A token of its own, such as `<|endoftext|>`, with tokenizers.AddedToken's properties.

    lstrip, rstrip: it takes along the spaces in front of it, behind it.
    """

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    special: bool = False


class ByteBPE:
    """A tokenizer.json of byte-level BPE. Its methods are those of tokenizers.Tokenizer, as far as minilora calls them.

    spec  the file as a dict. Raises FormatError for what is no byte-level BPE, and names the part.
    """

    padding = model = normalizer = pre_tokenizer = decoder = (
        None  # the library's parts; here they are the methods below
    )

    def __init__(self, spec: dict):
        self.digits_apart, self.space_first = _checked(spec)
        model = spec["model"]
        self.vocab: dict[str, int] = dict(model["vocab"])
        pairs = (tuple(m.split(" ", 1)) if isinstance(m, str) else tuple(m) for m in model["merges"])
        self.rank = {pair: n for n, pair in enumerate(pairs)}  # ("h", "e") -> 0: merged first
        listed = [dict(token) for token in spec.get("added_tokens") or []]
        self.vocab |= {token["content"]: token.pop("id") for token in listed}
        self.names = {i: text for text, i in self.vocab.items()}
        self.added: dict[str, AddedToken] = {}
        self.add_tokens([AddedToken(**token) for token in listed])
        self.merged = functools.cache(self._merged)  # most words of a text were seen before

    # ---- text -> ids

    def encode(self, text: str, add_special_tokens: bool = True):  # -> .ids; a byte-level BPE puts nothing in front
        """`.ids` of the text, and `.special_tokens_mask`: zeros, since nothing is put in front or behind."""
        ids, begin = [], 0
        for match in self.cut.finditer(text) if self.added else ():
            token, before = self.added[match[0]], text[begin : match.start()]
            ids += [*self._plain(before.rstrip(WHITE) if token.lstrip else before), self.vocab[match[0]]]
            begin = match.end()
            if token.rstrip:
                begin = len(text) - len(text[begin:].lstrip(WHITE))
        ids += self._plain(text[begin:])
        return SimpleNamespace(ids=ids, special_tokens_mask=[0] * len(ids))

    def encode_batch(self, texts: list[str], add_special_tokens: bool = True) -> list:
        return [self.encode(text) for text in texts]

    def _plain(self, text):  # a text without added tokens -> ids
        parts = [p for p in (re.split(f"({number()})", text) if self.digits_apart else [text]) if p]
        if self.space_first:
            parts = [p if p.startswith(" ") else " " + p for p in parts]
        words = (word for part in parts for word in word_pattern().findall(part))
        return [i for word in words for i in self.merged(word)]

    def _merged(self, word):  # -> ids of one word
        parts = [letter for b in word.encode() if (letter := BYTE_AS_LETTER[b]) in self.vocab]
        while len(parts) > 1:
            first = min(zip(parts, parts[1:], strict=False), key=lambda pair: self.rank.get(pair, len(self.rank)))
            if first not in self.rank:
                break
            parts = _joined(parts, first)
        return [self.vocab[part] for part in parts]

    # ---- ids -> text

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """The bytes of the ids as text; bytes that are no UTF-8 become U+FFFD."""
        texts = [self.names[i] for i in ids if i in self.names]
        if skip_special_tokens:
            texts = [t for t in texts if not (t in self.added and self.added[t].special)]
        return b"".join(_bytes_of(t) for t in texts).decode(errors="replace")

    # ---- what the vocabulary has

    def get_vocab(self) -> dict[str, int]:
        return dict(self.vocab)

    def token_to_id(self, token: str) -> int | None:
        return self.vocab.get(token)

    def id_to_token(self, number: int) -> str | None:
        return self.names.get(number)

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]:
        return {self.vocab[text]: token for text, token in self.added.items()}

    def add_tokens(self, tokens: list[AddedToken]) -> None:
        """Make tokens of their own of texts that the vocabulary has."""
        self.added |= {token.content: token for token in tokens}
        self.cut = re.compile("|".join(re.escape(t) for t in sorted(self.added, key=len, reverse=True)))

    def no_truncation(self) -> None:
        """Nothing is ever cut here."""

    def no_padding(self) -> None:
        """Nothing is ever filled up here."""


def _joined(parts, pair):  # ["h", "e", "h", "e"], ("h", "e") -> ["he", "he"]
    joined, at = [], 0
    while at < len(parts):
        here = tuple(parts[at : at + 2]) == pair
        joined.append("".join(pair) if here else parts[at])
        at += 2 if here else 1
    return joined


# ---- bytes as letters: GPT-2's table writes each byte as a letter that can be seen, a space as "Ġ"


def _letters():  # -> [256 letters]
    seen = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return [chr(b) if b in seen else chr(next(others)) for b in range(256)]


BYTE_AS_LETTER = _letters()
LETTER_AS_BYTE = {letter: b for b, letter in enumerate(BYTE_AS_LETTER)}


def _bytes_of(token):  # "Ġthe" -> b" the"; an added token that has other letters is its own text
    if all(letter in LETTER_AS_BYTE for letter in token):
        return bytes(LETTER_AS_BYTE[letter] for letter in token)
    return token.encode()


# ---- words: GPT-2's pattern, with \p{L} and \p{N} written out, since Python's `re` does not know them


@functools.cache
def _category(first):  # "L" or "N" -> the inside of a character class
    found, ranges = [c for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c))[0] == first], []
    for c in found:
        if ranges and ranges[-1][1] == c - 1:
            ranges[-1][1] = c
        else:
            ranges.append([c, c])
    return "".join(f"{re.escape(chr(a))}-{re.escape(chr(b))}" for a, b in ranges)


@functools.cache
def number() -> str:
    """A pattern of one numeral, of any script."""
    return f"[{_category('N')}]"


@functools.cache
def word_pattern() -> re.Pattern:
    """GPT-2's: 's|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"""
    letters, numbers = _category("L"), _category("N")
    return re.compile(
        # WHITE, since Python's \s has \x1c to \x1f too
        f"'s|'t|'re|'ve|'m|'ll|'d| ?[{letters}]+| ?[{numbers}]+| ?[^{WHITE}{letters}{numbers}]+"
        f"|[{WHITE}]+(?![^{WHITE}])|[{WHITE}]+"
    )


# ---- the file


def _checked(spec):  # -> whether numerals are apart, whether a space is put in front
    def refuse(part, what):
        raise FormatError(f"{NEEDS_LIBRARY} {part} {what!r:.60}")

    model = spec.get("model") or {}
    if model.get("type", "BPE") != "BPE" or not isinstance(model.get("merges"), list):
        refuse("the model", model.get("type"))
    for name in ("normalizer", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"):
        if found := spec.get(name) or model.get(name):
            refuse(f"{name}", found)
    before = spec.get("pre_tokenizer") or {}
    steps = before.get("pretokenizers", []) if before.get("type") == "Sequence" else [before]
    kinds = [step.get("type") for step in steps]
    if kinds not in (["ByteLevel"], ["Digits", "ByteLevel"]):
        refuse("the pre_tokenizer", kinds)
    if len(kinds) == 2 and not steps[0].get("individual_digits"):
        refuse("the pre_tokenizer", steps[0])
    if not steps[-1].get("use_regex", True):
        refuse("the pre_tokenizer", steps[-1])
    for name in ("decoder", "post_processor"):
        if (spec.get(name) or {"type": "ByteLevel"}).get("type") != "ByteLevel":
            refuse(f"the {name}", spec[name].get("type"))
    for token in spec.get("added_tokens") or []:
        if token.get("single_word") or token.get("normalized"):
            refuse("an added token that is a word of its own or normalized:", token["content"])
    return len(kinds) == 2, bool(steps[-1].get("add_prefix_space"))
