"""One HTTP request on its way: its sequences in the engine's thread, and their answers in the event loop."""

import asyncio
import contextlib
import json
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from fastapi.responses import Response, StreamingResponse
from pydantic_core import PydanticSerializationError, to_json

from ..errors import MiniloraError
from ..text.streaming import TextStream
from . import protocol
from .guard import error_body
from .requests import Delta, Sequence

Given = list[tuple[int, Delta]]  # of one request and one step: which of its answers, and what is new in it


class Post:
    """Brings deltas from the engine's thread to the event loop: once a step, and those of a request together."""

    def __init__(self):
        self._loop, self._given = asyncio.get_running_loop(), {}  # queue -> Given

    def put(self, queue: asyncio.Queue, index: int, delta: Delta) -> None:  # in the engine's thread
        self._given.setdefault(queue, []).append((index, delta))

    def send(self) -> None:  # in the engine's thread
        if self._given:
            given, self._given = self._given, {}
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
                self._loop.call_soon_threadsafe(self._deliver, given)

    @staticmethod
    def _deliver(given):
        for queue, deltas in given.items():
            queue.put_nowait(deltas)


class Answers:
    """The answers to one request: sequences in the engine, and their deltas as they are given."""

    def __init__(self, server):
        self.server, self.sequences = server, []
        self.began = time.perf_counter()
        self.left, self.gone = 0, False  # how many of them have not ended; whether the client is gone
        self._queue = asyncio.Queue()
        self._last = {}  # index -> when its last token was given

    def submit(self, prompts, options, version, asking, max_tokens, logprobs=None, echo=False):
        """Let the engine answer every prompt `options.n` times. All are submitted, or none goes on."""
        count, before = len(prompts) * options.n, len(self.sequences)
        sampling = options.sampling(max_tokens, logprobs)
        self.server.pool.keep(version, count - 1)
        for index in range(count):
            prompt = prompts[index // options.n]
            seed = None if sampling.seed is None else [sampling.seed, index]
            self.sequences.append(
                Sequence(
                    np.asarray(prompt, dtype=np.int64), None if version is None else version.name, sampling,
                    asking.ends, partial(self._give, before + index),
                    TextStream([], self.server.tokenizer, "" if sampling.ignore_eos else asking.behind),
                    np.random.default_rng(seed), echo, options.lora_scale, version,
                )
            )  # fmt: skip
        for index in range(before, len(self.sequences)):
            try:
                self.server.engine.submit(self.sequences[index])
            except MiniloraError:
                for _ in self.sequences[index:]:
                    self.server.pool.release(version)
                for sequence in self.sequences[before:index]:
                    self.server.engine.cancel(sequence)
                del self.sequences[index:]
                raise
            self.left += 1

    def _give(self, index: int, delta: Delta) -> None:  # in the engine's thread
        self.server.post.put(self._queue, index, delta)

    @contextlib.asynccontextmanager
    async def wanted(self, receive):
        """Within it `deltas` ends when the client goes; what runs at its end is cancelled."""
        leaving = asyncio.create_task(self._leave(receive))
        try:
            yield
        finally:
            leaving.cancel()
            if self.left:
                self.cancel()

    async def _leave(self, receive):
        while (await receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self._queue.put_nowait([])  # wakes `deltas`

    async def deltas(self) -> AsyncGenerator[Given, None]:
        """What each step gave, until every answer has ended or the client is gone."""
        while self.left and not self.gone:
            if given := self._measured(await self._queue.get()):
                yield given

    def at_once(self) -> Given:
        """What was given up to now, without waiting."""
        return [pair for _ in range(self._queue.qsize()) for pair in self._measured(self._queue.get_nowait())]

    def _measured(self, given):
        now = time.perf_counter()
        for index, delta in given:
            self._measure(index, delta, now)
            self.left -= delta.finish_reason is not None
        return given

    def _measure(self, index, delta, now):
        metrics = self.server.metrics
        if delta.tokens:
            if index in self._last:
                metrics.between.observe(now - self._last[index])
            else:
                metrics.first_token.observe(now - self.began)
            self._last[index] = now
        if delta.finish_reason:
            metrics.whole.observe(now - self.began)

    def cancel(self) -> None:
        for sequence in self.sequences:
            self.server.engine.cancel(sequence)

    def usage(self, prompts) -> dict:
        return protocol.usage(sum(map(len, prompts)), sum(len(s.tokens) for s in self.sequences))


async def raising(deltas: AsyncGenerator[Given, None]) -> AsyncIterator[Given]:
    """What `Answers.deltas` yields. Raises the error of the first answer that has one, behind what was before it."""
    async with contextlib.aclosing(deltas) as found:
        async for given in found:
            errors = [(i, delta.error) for i, (_, delta) in enumerate(given) if delta.error is not None]
            yield given[: errors[0][0]] if errors else given
            if errors:
                raise errors[0][1]


class Completion:
    """The shape of /v1/completions."""

    kind, prefix = "text_completion", "cmpl-"
    chunk_kind = kind

    def __init__(self, server, body, answers, prompts):
        self.server, self.body, self.answers, self.prompts = server, body, answers, prompts
        self.offsets = {}

    def opening(self, index):
        return None

    def choice(self, index, text, delta, logprobs):
        echoed = self._echo(index)
        found = (*echoed[1], *logprobs)
        wanted = self.body.logprobs is not None
        shown = protocol.completion_logprobs(found, self.server.token_text) if wanted else None
        return protocol.completion_choice(index, echoed[0] + text, delta, shown)

    def piece(self, index, delta):
        echoed = self._echo(index) if index not in self.offsets else ("", ())
        offset, found = self.offsets.get(index, 0), (*echoed[1], *delta.logprobs)
        self.offsets[index] = offset + sum(len(self.server.token_text(lp.token)) for lp in found)
        shown = protocol.completion_logprobs(found, self.server.token_text, offset) if found else None
        return protocol.completion_choice(index, echoed[0] + delta.text, delta, shown)

    def _echo(self, index):
        if not self.body.echo:
            return "", ()
        prompt = self.prompts[index // self.body.n]
        asked = self.body.prompts()[index // self.body.n]
        text = asked if isinstance(asked, str) else self.server.tokenizer.decode(prompt)
        return text, tuple(self.answers.sequences[index].prompt_logprobs)


class Chat:
    """The shape of /v1/chat/completions."""

    kind, prefix, chunk_kind = "chat.completion", "chatcmpl-", "chat.completion.chunk"

    def __init__(self, server, body, answers, prompts):
        self.server, self.body, self.answers, self.prompts = server, body, answers, prompts

    def opening(self, index):
        return protocol.chat_chunk_choice(index, "", None, None)

    def _logprobs(self, found):
        return protocol.chat_logprobs(found, self.server.token_text) if self.body.logprobs else None

    def choice(self, index, text, delta, logprobs):
        return protocol.chat_choice(index, text, delta, self._logprobs(logprobs))

    def piece(self, index, delta):
        return protocol.chat_chunk_choice(index, delta.text, delta, self._logprobs(delta.logprobs))


async def respond(shape, request):
    answers = shape.answers
    name = shape.body.model or shape.server.name
    head = {"id": shape.prefix + uuid.uuid4().hex, "created": int(time.time()), "model": name}
    if shape.body.stream:
        return EventStream(answers, _events(shape, Chunks(shape, head)))
    parts = [([], []) for _ in answers.sequences]
    last: list[Any] = [None] * len(parts)
    async with answers.wanted(request.receive):
        async for given in raising(answers.deltas()):
            for index, delta in given:
                parts[index][0].append(delta.text)
                parts[index][1].extend(delta.logprobs)
                last[index] = delta
    if any(delta is None or not delta.finish_reason for delta in last):
        return Response(status_code=499)  # the client is gone
    choices = [shape.choice(i, "".join(texts), last[i], tuple(found)) for i, (texts, found) in enumerate(parts)]
    return head | {"object": shape.kind, "choices": choices, "usage": answers.usage(shape.prompts)}


class EventStream(StreamingResponse):
    """Server-sent events of answers, which end when the client goes."""

    def __init__(self, answers: Answers, events: AsyncIterator[bytes]):
        super().__init__(events, media_type="text/event-stream")
        self.answers = answers

    async def __call__(self, scope, receive, send):
        async with self.answers.wanted(receive):
            await self.stream_response(send)


def event(data: dict) -> bytes:
    """A server-sent event. Half a surrogate pair, which UTF-8 cannot have, is written as its JSON escape."""
    try:
        text = to_json(data)
    except PydanticSerializationError:
        text = json.dumps(data, ensure_ascii=False).encode(errors="backslashreplace")
    return b"data: %b\n\n" % text


class Chunks:
    """The events of a stream, with one choice in each, and the usage where it is asked for."""

    def __init__(self, shape, head: dict):
        self.shape, self.head = shape, head | {"object": shape.chunk_kind}
        self.body, self.prompts = shape.body, shape.prompts
        self._counts = Counter()  # index -> tokens so far

    def opening(self, index: int) -> bytes:
        """What says whose an answer is; b"" where the shape has no such event."""
        choice = self.shape.opening(index)
        return b"" if choice is None else self._event(index, choice)

    def of(self, index: int, delta: Delta) -> bytes:
        """The event of a delta; b"" when it has nothing to show."""
        self._counts[index] += len(delta.tokens)
        shown = delta.text or delta.finish_reason or delta.logprobs
        return self._event(index, self.shape.piece(index, delta)) if shown else b""

    def last(self) -> bytes:
        """The usage of the whole request; b"" where it is not asked for."""
        usage = self.shape.answers.usage(self.prompts)
        return event(self.head | {"choices": [], "usage": usage}) if self.body.usage_wanted else b""

    def _event(self, index, choice):
        found = self.head | {"choices": [choice]}
        if self.body.usage_wanted:
            prompt = self.prompts[index // self.body.n]
            usage = protocol.usage(len(prompt), self._counts[index]) if self.body.usage_in_chunks else None
            found |= {"usage": usage}
        return event(found)


async def _events(shape, chunks):
    """The choices of a step are written at once; `[DONE]` at the end."""
    if opening := b"".join(map(chunks.opening, range(len(shape.answers.sequences)))):
        yield opening
    try:
        async for given in raising(shape.answers.deltas()):
            if shown := b"".join(chunks.of(*pair) for pair in given):
                yield shown
    except MiniloraError as error:
        yield event(error_body(error)[0])
    else:
        yield chunks.last()
    yield b"data: [DONE]\n\n"


async def side_by_side(answers: Answers, models: Iterable[str], submit: Callable) -> AsyncIterator[bytes]:
    """Events of /ask: the model's name with a piece of its answer, why it ended, or an error.

    submit: awaited with each name, lets that model answer. The first ones answer while later ones are still read.
    """
    names = []

    def shown(given):
        return b"".join(piece(names[index], delta) for index, delta in given)

    def piece(name, delta):
        if isinstance(delta.error, Exception):
            return event({"model": name} | error_body(delta.error)[0])
        if delta.text or delta.finish_reason:
            return event({"model": name, "text": delta.text, "finish_reason": delta.finish_reason})
        return b""

    for name in models:
        try:
            await submit(name)
            names.append(name)
        except MiniloraError as error:
            yield event({"model": name} | error_body(error)[0])
        if answers.gone:
            return
        if early := shown(answers.at_once()):
            yield early
    async for given in answers.deltas():
        yield shown(given)
    yield b"data: [DONE]\n\n"
