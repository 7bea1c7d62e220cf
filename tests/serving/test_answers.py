"""What the engine gives, on its way into the event loop and out as events."""

import asyncio
import json
from types import SimpleNamespace

import pytest

pytest.importorskip("fastapi")

from minilora.errors import ConfigError
from minilora.serving.answers import Answers, EventStream, Post, event, raising, side_by_side
from minilora.serving.requests import Delta


def test_the_deltas_of_a_step_are_delivered_together_and_wake_the_loop_once(monkeypatch):
    async def run():
        post, one, other = Post(), asyncio.Queue(), asyncio.Queue()
        woken = []
        monkeypatch.setattr(post._loop, "call_soon_threadsafe", lambda *call: woken.append(call))
        for queue, index in ((one, 0), (other, 0), (one, 1)):
            post.put(queue, index, Delta(f"{index}", ()))
        post.send()
        post.send()
        ((deliver, given),) = woken
        deliver(given)
        return [[(i, d.text) for i, d in queue.get_nowait()] for queue in (one, other)]

    assert asyncio.run(run()) == [[(0, "0"), (1, "1")], [(0, "0")]]


def test_what_was_given_before_an_error_is_yielded_first():
    async def deltas():
        yield [(0, Delta("a", ())), (1, Delta("", (), error=ConfigError("no"))), (2, Delta("c", ()))]

    async def run():
        seen = []
        with pytest.raises(ConfigError, match="no"):
            async for given in raising(deltas()):
                seen += [delta.text for _, delta in given]
        return seen

    assert asyncio.run(run()) == ["a"]


@pytest.mark.parametrize("text", ["ö\n", "a\ud800b", '"\\'])
def test_an_event_is_one_line_of_json_in_utf_8(text):
    written = event({"text": text, "logprobs": None})
    assert written.startswith(b"data: ") and written.endswith(b"\n\n") and written.count(b"\n") == 2
    assert json.loads(written[6:].decode("utf-8")) == {"text": text, "logprobs": None}


@pytest.mark.parametrize("goes", ["before the first event", "behind the first event", "never"])
def test_what_nobody_waits_for_is_cancelled_and_nothing_else(goes):
    cancelled, sent = [], []
    answers = Answers(SimpleNamespace(engine=SimpleNamespace(cancel=cancelled.append)))
    answers.sequences, answers.left = ["sequence"], 1

    async def events():
        yield b"first"
        if goes == "never":
            answers.left = 0  # it has ended
        async for _ in answers.deltas():
            yield b"more"

    async def receive():
        if goes == "before the first event" or (goes == "behind the first event" and sent):
            return {"type": "http.disconnect"}
        await asyncio.sleep(0.01 if goes == "behind the first event" else 60)
        return {"type": "http.request"}

    async def send(message):
        sent.append(message)

    asyncio.run(asyncio.wait_for(EventStream(answers, events())({"type": "http"}, receive, send), 10))
    assert cancelled == ([] if goes == "never" else ["sequence"])


def test_of_several_models_the_first_answer_while_later_ones_are_read():
    ignored = SimpleNamespace(observe=lambda seconds: None)
    metrics = SimpleNamespace(first_token=ignored, between=ignored, whole=ignored)
    answers, seen = Answers(SimpleNamespace(metrics=metrics)), []

    async def submit(name):
        seen.append(f"{name} is read")
        if name == "broken":
            raise ConfigError("no")
        answers.left += 1
        answers._queue.put_nowait([(len(answers.sequences), Delta(f"{name} says", (5,), finish_reason="stop"))])
        answers.sequences.append(name)

    async def run():
        async for part in side_by_side(answers, ["one", "broken", "two"], submit):
            seen.append(part.decode())

    asyncio.run(run())
    found = [json.loads(s[6:]) if s.startswith("data: {") else s for s in seen]
    assert found[0] == "one is read" and found[1]["text"] == "one says" and found[2] == "broken is read"
    assert found[3]["error"]["code"] == 400 and found[4] == "two is read" and found[5]["model"] == "two"
    assert found[6:] == ["data: [DONE]\n\n"] and answers.left == 0
