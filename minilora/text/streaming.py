"""The text of an answer while its tokens arrive: each piece is final, and together they are the whole text.

A token is no text yet when it ends within a character, or when what it ends with may be the mark of the end.
"""

import re

from .tokenizer import TextTokenizer

HALF = "\ufffd"  # what the bytes of an incomplete character are decoded to
BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>")  # a run of these is decoded together: a later one may change the earlier


class TextStream:
    """Turns the tokens behind a prompt into pieces of text, which together are what `forms.text_after` gives.

    >>> from minilora.text.tokenizer import load_tokenizer
    >>> from minilora.files.shipped import shipped
    >>> tokenizer = load_tokenizer(shipped("base"))
    >>> stream = TextStream(tokenizer.encode("Tea is"), tokenizer)
    >>> "".join(map(stream.push, tokenizer.encode(" 3 €."))) + stream.finish()
    ' 3 €.'

    ended: whether the mark was found; the text before it is complete then.
    """

    def __init__(self, prompt_ids: list[int], tokenizer: TextTokenizer, behind: str = ""):
        """behind: what the form writes behind an answer, see `forms.written_end`. The text ends before it."""
        self.tokenizer, self.mark = tokenizer, end_mark(behind)
        self.tail = "" if self.mark else behind  # no mark, but no part of an answer that an end token has ended
        self.ids = list(prompt_ids)
        self.shown = tokenizer.decode(self.ids)  # the text of ids[start:stop], which is out
        self.start, self.stop = 0, len(self.ids)
        self.held = ""  # the end of the text so far, which may be the beginning of the mark, or the tail
        self.ended = False

    def push(self, token: int) -> str:
        """The text that is certain now; "" when there is none."""
        self.ids.append(token)
        # some tokenizers drop the space before a first word: a few tokens before are decoded with the new ones
        text = self.tokenizer.decode(self.ids[self.start :])
        last = self.tokenizer.inner.id_to_token(token) or ""
        if text.endswith(HALF) or BYTE_TOKEN.fullmatch(last) or text == self.shown:
            return ""
        return self._up_to_mark(self._behind_shown(text))

    def finish(self, by_end_token: bool = False) -> str:
        """The rest of the text, when no token follows. by_end_token: one ended it that was not pushed."""
        rest = self._up_to_mark(self._behind_shown(self.tokenizer.decode(self.ids[self.start :]))) + self.held
        self.held = ""
        return rest.removesuffix(self.tail) if by_end_token or ended_by(self.ids, self.tokenizer) else rest

    def _behind_shown(self, text):  # the text of ids[start:] -> what is new in it
        if text.startswith(self.shown):
            new = text[len(self.shown) :]
        else:  # a prompt that ends within a character: the answer is decoded alone
            new = self.tokenizer.decode(self.ids[self.stop :])
        alone = self.tokenizer.decode(self.ids[self.stop :])
        if alone:
            self.start, self.shown = self.stop, alone
        else:
            self.shown = text
        self.stop = len(self.ids)
        return new

    def _up_to_mark(self, new):
        if self.ended:
            return ""
        text, found = self.held + new, ""
        if self.mark:
            text, found, _ = text.partition(self.mark)
        self.ended = bool(found)
        awaited = self.mark or self.tail
        kept = 0 if found else next(n for n in range(len(awaited), -1, -1) if text.endswith(awaited[:n]))
        self.held = text[len(text) - kept :]
        return text[: len(text) - kept]


def end_mark(behind: str) -> str:
    """The text that ends an answer, of what a form writes behind it. A mark of fewer than four characters, such as a
    full stop, may be part of an answer: it ends nothing, and "" is returned. An end token follows it in training.
    """
    mark = behind.strip()
    return mark if len(mark) > 3 else ""


def ended_by(row, tokenizer: TextTokenizer) -> bool:
    """Whether the row of ids ends with the end token, which training puts where the form writes no mark."""
    return len(row) > 0 and int(row[-1]) == tokenizer.eos_id
