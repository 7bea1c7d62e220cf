"""The ids of many texts, put together from the ids of their pieces: most words are in a text again and again.

A text is cut before a space between two visible characters. For tokenizers of the kinds in `cuts_at_spaces` no token
and no rule reaches over such a place, so that the ids of the pieces, one after the other, are those of the whole text.
"""

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CUT = re.compile(r" (?<=[\w!-~] )(?=[\w!-~])")  # the space belongs to the piece behind it
MOST = 2**20  # characters of the pieces that are remembered
# regular expressions that published tokenizers (Llama 3, Qwen 2 and later) split a text by; N is 1 or 1,3
SPLITS = tuple(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + digits +
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    for digits in ("", "{1,3}")
)  # fmt: skip


class Pieces:
    """Remembers the ids of pieces. The tokenizer must be one that `cuts_at_spaces`.

    Texts whose words repeat, such as the rows of a form, take less than half of the library's time. Where most pieces
    are new, whole texts are encoded.

    encode: function list of texts -> list of their ids, the library's.
    """

    def __init__(self, inner: "Tokenizer", encode: Callable):
        self.encode = encode
        added = inner.get_added_tokens_decoder().items()
        self.greedy = {i: t.content for i, t in added if t.lstrip or t.rstrip}  # each takes the spaces around it
        self._forget()

    def _forget(self):
        self.first, self.later, self.size = {}, {}, 0  # {piece: its ids}, {piece without its space: ids}; characters
        self.reaching: set[str] = set()  # pieces with a greedy token: a text that has one is encoded whole

    def encode_all(self, texts: list[str]) -> list[list[int]]:
        """The ids of every text."""
        parts = [CUT.split(text) for text in texts]
        if self.size > MOST:
            self._forget()
        # each is looked up: `set - keys()` would go through all that is remembered
        firsts = {pieces[0] for pieces in parts if pieces[0] not in self.first}
        laters = {piece for pieces in parts for piece in pieces[1:] if piece not in self.later}
        if len(firsts) + len(laters) > sum(map(len, parts)) / 2:
            return self.encode(texts)
        self._learn(self.first, firsts)
        self._learn(self.later, laters, " ")
        first, later = self.first, self.later
        found = []
        for pieces in parts:
            ids = first[pieces[0]].copy()
            for piece in pieces[1:]:
                ids += later[piece]
            found.append(ids)
        whole = [n for n, pieces in enumerate(parts) if not self.reaching.isdisjoint(pieces)]
        for n, ids in zip(whole, self.encode([texts[n] for n in whole]), strict=True):
            found[n] = ids
        return found

    def last_cut(self, text: str) -> int:
        """The last place in the text that no id reaches over, whatever is appended to the text; 0 without any."""
        if any(token in text for token in self.greedy.values()):
            return 0
        place = text.rfind(" ")
        while place > 0 and not CUT.match(text, place):
            place = text.rfind(" ", 0, place)
        return max(0, place)

    def _learn(self, known, new, space=""):  # set of pieces
        new = sorted(new)
        for piece, ids in zip(new, self.encode([space + piece for piece in new]), strict=True):
            known[piece] = ids
            self.size += len(piece)
            if not self.greedy.keys().isdisjoint(ids):
                self.reaching.add(piece)


def cuts_at_spaces(inner: "Tokenizer") -> bool:
    """Whether the tokenizer is known to keep the two sides of a CUT apart: byte-level BPE like GPT-2's or Llama 3's.

    Its regular expression has " " at the start of a match alone, except in a run of white space; NFC joins nothing with
    a space; a single digit is split off by itself.
    """
    model, normalizer, splitter = inner.model, _state(inner.normalizer), _state(inner.pre_tokenizer)
    steps = splitter.get("pretokenizers", [splitter])
    if steps and steps[0].get("type") == "Digits":
        steps = steps[1:]
    added = inner.get_added_tokens_decoder().values()
    return (
        type(model).__name__ == "BPE"
        and not model.dropout  # it draws at random
        and normalizer.get("type") in (None, "NFC")
        and _splits_as_known(steps)
        and not any(c.isspace() for token in added for c in token.content)
    )


def has_own_regex(inner: "Tokenizer") -> bool:
    """Whether a part of the tokenizer has a regular expression that is not one of SPLITS."""
    parts = (inner.normalizer, inner.pre_tokenizer, inner.decoder)
    text = "".join(part.__getstate__().decode() for part in parts if part is not None)
    for known in SPLITS:
        text = text.replace(f'"Regex":{json.dumps(known)}', "")
    return '"Regex":' in text


def _splits_as_known(steps: list[dict]) -> bool:
    *before, last = steps or [{}]
    if last.get("type") != "ByteLevel" or last["add_prefix_space"]:
        return False
    if last["use_regex"]:  # GPT-2's own
        return not before
    return (
        len(before) == 1
        and before[0].get("type") == "Split"
        and before[0]["pattern"].get("Regex") in SPLITS
        and before[0]["behavior"] == "Isolated"
        and not before[0]["invert"]
    )


def _state(part) -> dict:  # a normalizer or pre-tokenizer of the library -> its JSON, {} for None
    return {} if part is None else json.loads(part.__getstate__())
