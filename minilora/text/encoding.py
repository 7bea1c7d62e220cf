"""Prompts, responses and plain text as token ids."""

import re
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import DataError, listed
from .tokenizer import END, TextTokenizer

PIECE = 2**18  # characters of plain text that are encoded at once, and a line more
LEADS = ("", "\n")  # the second for tokenizers that put a space in front of every text
# between two lines, in front of a space between two words, behind a sign: a text of one line has only the latter
BREAKS = tuple(map(re.compile, (r"(?<=\n)", r"(?<=\S)(?=\s\S)", r"(?<=[^\w\s])(?=\w)")))
SEAM = 256  # characters on each side of a cut that must not change each other's ids


def frame(prompt: str) -> str:
    """The text that a model is trained to answer: the prompt and a line break.

    >>> frame("Where does Bess Moss live? ")
    'Where does Bess Moss live?\\n'
    """
    return prompt.rstrip() + "\n"


def encode_prompt(prompt: str, tokenizer: TextTokenizer) -> list[int]:
    """The ids of the framed prompt, after the ids that the tokenizer puts in front of every text."""
    return tokenizer.start + tokenizer.encode(frame(prompt))


class PairEncoder:
    """A function example, tokenizer -> (prompt ids, response ids) that can also encode many examples at once.

    texts: function example, tokenizer -> (ids in front, text before the answer, the answer, ids behind).
    """

    def __init__(self, texts: Callable):
        self.texts = texts

    def __call__(self, example: dict, tokenizer: TextTokenizer) -> tuple[list[int], list[int]]:
        front, before, after, behind = self.texts(example, tokenizer)
        prompt, response = encode_both(before, after, tokenizer)
        return front + prompt, response + behind

    def many(self, found: list[tuple], tokenizer: TextTokenizer) -> list[tuple[list[int], list[int]]]:
        """The pairs of what `texts` gave, the same and faster: side by side, and of a prompt only its end again."""
        befores = tokenizer.encode_all([before for _, before, _, _ in found])
        ends = [before[tokenizer.last_cut(before) :] for _, before, _, _ in found]
        firsts = tokenizer.encode_all(ends)
        wholes = tokenizer.encode_all([end + after for end, (_, _, after, _) in zip(ends, found, strict=True)])
        pairs = []
        for (front, _, after, behind), before, first, whole in zip(found, befores, firsts, wholes, strict=True):
            response = whole[len(first) :] if whole[: len(first)] == first else tokenizer.encode(after)
            pairs.append((front + before, response + behind))
        return pairs


def pair_texts(example: dict, tokenizer: TextTokenizer) -> tuple[list[int], str, str, list[int]]:
    """What `encode_pair` joins: the ids in front, the prompt, the response, and the end.

    Raises DataError for messages of more than one question with its answer: only a chat template can write them.
    """
    _, end = end_of_answer(tokenizer)
    if "text" in example:
        return tokenizer.start, "", example["text"], end
    if "messages" in example or "tools" in example:
        check_frame(example)
    return tokenizer.start, frame(example["prompt"]), example["response"], end


# (prompt ids, response ids) of {"prompt": ..., "response": ...}, {"text": ...} or {"messages": ...}, framed
encode_pair = PairEncoder(pair_texts)


def check_frame(example: dict) -> None:
    """Raises DataError when the frame, a prompt and its answer, would leave out a part of the example."""
    messages = example.get("messages", [])
    roles = [m["role"] for m in messages]
    extra = ["tools"] if example.get("tools") else []
    extra += [key for m in messages for key, value in m.items() if key not in ("role", "content") and value]
    if roles and roles != ["user", "assistant"]:
        raise DataError(f"the messages are of {', '.join(roles[:6])}; without chat only one question and answer fit")
    if extra:
        raise DataError(f'"{extra[0]}" has no place in the frame; only chat can write it')


def end_of_answer(tokenizer: TextTokenizer, behind: str = "") -> tuple[int | None, list[int]]:
    """(the id that ends an answer, the ids to append to an answer in training). Training and generation both ask here.

    behind: the text that a chat template writes behind an answer. Its first token of its own, such as `<|im_end|>`, is
    the end. Without one the end is the tokenizer's end token, which no template has written: it is appended.
    """
    marks = tokenizer.special_ids(behind)
    if marks:
        return marks[0], []
    return tokenizer.eos_id, [] if tokenizer.eos_id is None else [tokenizer.eos_id]


def encode_both(before: str, after: str, tokenizer: TextTokenizer) -> tuple[list[int], list[int]]:
    """The ids of two texts that follow each other, cut from the ids of the joined text.

    Where joining them changes the ids of `before`, `after` is encoded alone instead.
    """
    first, whole = tokenizer.encode(before), tokenizer.encode(before + after)
    return first, whole[len(first) :] if whole[: len(first)] == first else tokenizer.encode(after)


def encode_text(text: str, tokenizer: TextTokenizer, each: Callable = iter) -> np.ndarray:  # -> (N,) int32
    """The ids of plain text. `<|endoftext|>` in it becomes the end token, also when the tokenizer has another name.

    The text is encoded in pieces of about PIECE characters, because the library takes over a hundred bytes of memory
    for a byte of text. each: wraps the loop over the pieces, for example with a progress bar.
    """
    known = tokenizer.inner.token_to_id(END) is not None or END not in text
    parts = [text] if known else [p.strip() for p in text.split(END)]
    ends = ([] if tokenizer.eos_id is None else [tokenizer.eos_id]) + tokenizer.start
    pieces = [(n, *piece) for n, part in enumerate(parts) for piece in pieces_of(part, tokenizer)]
    found = [np.asarray(tokenizer.start, dtype=np.int32)]
    for n, start, stop, lead in each(pieces):
        ids = encode_behind(lead, parts[n][start:stop], tokenizer)
        found.append(np.asarray(ends + ids if n and not start else ids, dtype=np.int32))
    return np.concatenate(found)


def pieces_of(text: str, tokenizer: TextTokenizer) -> list[tuple[int, int, str]]:
    """(start, stop, lead) of the pieces; a piece that is not the first is encoded behind `lead`."""
    for lead in LEADS:
        cuts = cut_text(text, tokenizer, lead)
        if len(cuts) > 1:
            break
    return [(start, stop, lead if start else "") for start, stop in cuts]


def cut_text(text: str, tokenizer: TextTokenizer, lead: str = "") -> list[tuple[int, int]]:
    """(start, stop) of pieces of the text that have together the ids of the whole: cut where the ids of the characters
    around are those of both sides, the right one `encode_behind` the lead.
    """
    cuts, place, refused = [0], PIECE, 0
    while refused < 50 and (place := next_break(text, place)):
        before, after = text[max(0, place - SEAM) : place], text[place : place + SEAM]
        joined = tokenizer.encode(before) + encode_behind(lead, after, tokenizer)
        if after and joined == tokenizer.encode(before + after):
            cuts.append(place)
            place, refused = place + PIECE, 0
        else:
            place, refused = place + 1, refused + 1
    return list(zip(cuts, [*cuts[1:], len(text)], strict=True))


def next_break(text: str, place: int) -> int:
    """A place to try a cut, from `place` on: by the first of BREAKS that the next PIECE characters have; 0 for none."""
    while place < len(text):
        for pattern in BREAKS:
            if found := pattern.search(text, place, place + PIECE):
                return found.start()
        place += PIECE
    return 0


def encode_behind(lead: str, text: str, tokenizer: TextTokenizer) -> list[int]:
    """The ids of the text where the lead is in front of it, without the lead's own."""
    (ids,) = tokenizer.encode_all([lead + text])
    return ids[len(tokenizer.encode(lead)) :] if lead else ids


def place_of(examples: Sequence[dict], n: int) -> str:
    """Where example n is, for errors: "a.jsonl, line 3", or its number when it is from no file."""
    return getattr(examples[n], "where", f"example {n + 1}")


def check_lengths(pairs: list[tuple[list[int], list[int]]], max_length: int, examples: Sequence[dict]) -> None:
    """Raise DataError when a pair has more than `max_length` tokens: examples are never cut silently.

    examples: those of the pairs, whose places are in the message.
    """
    lengths = [len(prompt) + len(response) for prompt, response in pairs]
    if max(lengths, default=0) > max_length:
        long = [f"{place_of(examples, n)} ({length} tokens)" for n, length in enumerate(lengths) if length > max_length]
        raise DataError(
            f"{len(long)} of {len(pairs)} examples are longer than the context of {max_length} tokens: "
            f"{listed(long, limit=3)}; shorten or remove them"
        )
