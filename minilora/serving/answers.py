"""One HTTP request on its way: its sequences in the engine's thread, and their answers in the event loop."""

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from typing import Any

import numpy as np
from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from pydantic_core import PydanticSerializationError, to_json

from ..errors import BusyError, MiniloraError
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
                    asking.ends, partial(self._give, before + index), TextStream([], self.server.tokenizer),
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

    def _give(self, index: int, delta: Delta) -> None:  # in the engine's thread
        self.server.post.put(self._queue, index, delta)

    async def leave_with(self, request: Request) -> None:
        """Wait until the client goes; `deltas` ends then."""
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self._queue.put_nowait([])

    async def deltas(self) -> AsyncGenerator[Given, None]:
        """What each step gave, until every answer has ended; cancels what runs when it is left before."""
        left = len(self.sequences)
        try:
            while left:
                given, now = await self._queue.get(), time.perf_counter()
                if not given:
                    return
                for index, delta in given:
                    self._measure(index, delta, now)
                    left -= delta.finish_reason is not None
                yield given
        finally:
            if left:
                self.cancel()

    def _measure(self, index, delta, now):
        metrics = self.server.metrics
        if delta.tokens:
            if index in self._last:
                metrics.between.observe(now - self._last[index])
            else:
                metrics.first_token.observe(now - self.began)
            self._last[index] = now
        if delta.finish_reason:
            metrics.finished(delta.finish_reason)
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
    if shape.body.stream:  # a StreamingResponse ends `_events` when the client goes
        return StreamingResponse(_events(shape, head), media_type="text/event-stream")
    parts = [([], []) for _ in answers.sequences]
    last: list[Any] = [None] * len(parts)
    leaving = asyncio.create_task(answers.leave_with(request))
    try:
        async for given in raising(answers.deltas()):
            for index, delta in given:
                parts[index][0].append(delta.text)
                parts[index][1].extend(delta.logprobs)
                last[index] = delta
    finally:
        leaving.cancel()
    if any(delta is None or not delta.finish_reason for delta in last):
        return Response(status_code=499)  # the client is gone
    if any(delta.finish_reason == "abort" for delta in last):
        raise BusyError("the server is stopping")
    choices = [shape.choice(i, "".join(texts), last[i], tuple(found)) for i, (texts, found) in enumerate(parts)]
    return head | {"object": shape.kind, "choices": choices, "usage": answers.usage(shape.prompts)}


def event(data: dict) -> bytes:
    """A server-sent event. Half a surrogate pair, which UTF-8 cannot have, is written as its JSON escape."""
    try:
        text = to_json(data)
    except PydanticSerializationError:
        text = json.dumps(data, ensure_ascii=False).encode(errors="backslashreplace")
    return b"data: %b\n\n" % text


async def side_by_side(answers: Answers, names: list[str], failed: list[tuple[str, Exception]]) -> AsyncIterator[bytes]:
    """Events of /ask: the model's name with a piece of its answer, why it ended, or an error."""
    for name, error in failed:
        yield event({"model": name} | error_body(error)[0])

    def shown(name, delta):
        if isinstance(delta.error, Exception):
            return event({"model": name} | error_body(delta.error)[0])
        if delta.text or delta.finish_reason:
            return event({"model": name, "text": delta.text, "finish_reason": delta.finish_reason})
        return b""

    async for given in answers.deltas():
        yield b"".join(shown(names[index], delta) for index, delta in given)
    yield b"data: [DONE]\n\n"


async def _events(shape, head):
    """Server-sent events: a choice in each, those of a step written at once; `[DONE]` at the end."""
    head, answers = head | {"object": shape.chunk_kind}, shape.answers
    more = {"usage": None} if shape.body.usage_wanted else {}
    for index in range(len(answers.sequences)):
        if (choice := shape.opening(index)) is not None:
            yield event(head | {"choices": [choice]} | more)
    try:
        async for given in raising(answers.deltas()):
            shown = [pair for pair in given if pair[1].text or pair[1].finish_reason or pair[1].logprobs]
            if shown:
                yield b"".join(event(head | {"choices": [shape.piece(*pair)]} | more) for pair in shown)
    except MiniloraError as error:
        yield event(error_body(error)[0])
    else:
        if shape.body.usage_wanted:
            yield event(head | {"choices": [], "usage": answers.usage(shape.prompts)})
    yield b"data: [DONE]\n\n"
