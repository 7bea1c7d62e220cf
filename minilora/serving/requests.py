"""What a client asks for, and one answer as it grows: the engine knows nothing of HTTP."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..text.streaming import TextStream


@dataclass(frozen=True)
class Sampling:
    """How an answer is chosen, with OpenAI's and vLLM's names.

    max_tokens      the most new tokens
    temperature     0: the most likely token each time
    top_p, top_k    see `generation.sample_tokens`; top_k None: all
    seed            None: the answer differs from call to call
    stop            texts that end the answer and are no part of it
    stop_token_ids  tokens that end it, beside the adapter's own
    ignore_eos      whether the adapter's own ends are tokens like others
    logprobs        how many likely tokens are reported for each place; None: no log-probabilities
    """

    max_tokens: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    logprobs: int | None = None


@dataclass(frozen=True)
class Logprob:
    """The log-probability of a token at its place, and the likeliest tokens there: [(token, log-probability)]."""

    token: int
    value: float | None  # None: the first token of a prompt follows nothing
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Delta:
    """What is new in an answer: its tokens, the text that is certain, and at the end why it ended.

    finish_reason  "stop", "length", "abort" or "error"; None: it goes on
    stop_reason    the stop text or the token of `stop_token_ids` that ended it
    """

    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[Logprob, ...] = ()
    finish_reason: str | None = None
    stop_reason: Any = None
    error: BaseException | None = None


@dataclass(eq=False)
class Sequence:
    """One answer to one prompt: a row of the engine's batch.

    prompt   (n,) int64 tokens, at least one
    adapter  its name in the pool, None: the base
    ends     tokens that end its answers
    give     called by the engine's thread with each Delta; the last one has a finish_reason
    echo     whether log-probabilities of the prompt are wanted
    scale    by which the update of a LoRA adapter is multiplied
    """

    prompt: np.ndarray
    adapter: str | None
    sampling: Sampling
    ends: frozenset
    give: Callable[[Delta], None]
    stream: TextStream
    generator: np.random.Generator
    echo: bool = False
    scale: float = 1.0  # factor of the adapter's update

    # ---- what the engine and the scheduler keep
    lease: Any = None  # of the pool: which version of the adapter answers
    row: int = -1  # in the cache
    overtaken: int = 0  # how many later ones began before it
    computed: int = 0  # tokens of the prompt whose keys and values are there
    tokens: list[int] = field(default_factory=list)  # the answer
    prompt_logprobs: list[Logprob] = field(default_factory=list)
    held: str = ""  # text that may be the beginning of a stop text
    cancelled: threading.Event = field(default_factory=threading.Event)

    is_prefilled = property(lambda self: self.computed == len(self.prompt))

    def accept(self, token: int, logprob: Logprob | None):  # -> Delta
        """Take the next token of the answer."""
        self.tokens.append(token)
        sampling, logprobs = self.sampling, () if logprob is None else (logprob,)
        if token in self.ends and not sampling.ignore_eos:
            return Delta(self._rest(by_end_token=True), (token,), logprobs, "stop")
        if token in sampling.stop_token_ids:
            return Delta(self._rest(), (token,), logprobs, "stop", token)
        text, stop = self._before_stop(self.stream.push(token))
        if self.stream.ended and not stop:  # the text that the template writes behind an answer
            return Delta(text + self._rest(), (token,), logprobs, "stop")
        if stop:
            return Delta(text, (token,), logprobs, "stop", stop)
        if len(self.tokens) == sampling.max_tokens:
            rest, stop = self._before_stop(self.stream.finish())
            rest = text + rest + ("" if stop else self.held)
            return Delta(rest, (token,), logprobs, "stop" if stop else "length", stop or None)
        return Delta(text, (token,), logprobs)

    def _rest(self, by_end_token=False):
        """The end of the text, when a token ended it."""
        rest, stop = self._before_stop(self.stream.finish(by_end_token))
        return rest if stop else rest + self.held

    def _before_stop(self, new):  # -> the text that is certain, and the stop text behind it or ""
        text = self.held + new
        found = [(text.find(stop), stop) for stop in self.sampling.stop if stop in text]
        if found:
            place, stop = min(found)
            self.held = ""
            return text[:place], stop
        kept = max((overlap(text, stop) for stop in self.sampling.stop), default=0)
        self.held = text[len(text) - kept :]
        return text[: len(text) - kept], ""


def overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` may be the beginning of `stop`.

    >>> overlap("one, tw", "two"), overlap("one", "two")
    (2, 0)
    """
    return next(n for n in range(min(len(stop) - 1, len(text)), -1, -1) if text.endswith(stop[:n]))
