"""What HTTP adds to a token of a stream: python -m benchmarks.serving_http

A server in this process, its clients in another one. The cost is the CPU time of this process that is not the engine's,
and the engine's own time in handing a token over, while all answers are being written. What a request costs beside its
tokens (to read it, to begin and to end its answer) is a column of its own. The last row is one request with n answers.
"""

import http.client
import json
import subprocess
import sys
import threading
import time
from typing import NamedTuple

import click

from minilora.serving.listener import HttpServer, listen
from minilora.serving.requests import Sequence
from minilora.serving.start import start_server

from .options import OneLine, Refused, Several

TARGET = 60  # microseconds


@click.command(cls=OneLine)
@click.option("--streams", type=Several(), default="1,8,32", show_default=True, help="Streams at once, as a list.")
@click.option("--tokens", default=300, show_default=True, type=click.IntRange(10, 480), help="Tokens of each stream.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
def main(streams, tokens, rounds):
    """Microseconds of CPU time a token that streaming over HTTP costs."""
    server = start_server(None, [])
    listener = listen("127.0.0.1", 0)
    running = HttpServer(server, "127.0.0.1")
    thread = threading.Thread(target=lambda: running.run(sockets=[listener]))
    thread.start()
    while not running.started and thread.is_alive():
        time.sleep(0.01)
    clock = Clock(server.engine)
    port = listener.getsockname()[1]
    cases = [(int(count), 1) for count in streams]
    cases.append((1, max(count for count, _ in cases)))
    click.echo(f"streams  answers  HTTP us/token (target {TARGET})  engine us/token  tokens/s  ms/request")
    try:
        for count, n in cases:
            found = [clock.measure(port, count, n, tokens) for _ in range(rounds)]
            http_us, engine_us, rate, request_ms = sorted(found)[len(found) // 2]
            click.echo(f"{count:7} {count * n:8} {http_us:26.0f} {engine_us:16.0f} {rate:9,.0f} {request_ms:11.1f}")
    finally:
        running.should_exit = True
        thread.join()


class Moment(NamedTuple):
    """Seconds of CPU time of the process, of the engine's steps, and of handing tokens over; the clock; the steps."""

    process: float
    steps: float
    given: float
    clock: float
    number: int

    def since(self, before):  # -> Moment
        return Moment(*(a - b for a, b in zip(self, before, strict=True)))

    @property
    def http(self):
        return self.process - self.steps + self.given


class Clock:
    """Looks at the CPU time after each step of an engine that runs."""

    def __init__(self, engine):
        self.engine, self.steps, self.given = engine, 0.0, 0.0
        self.count, self.first, self.last = 0, None, None
        step, submit, after = engine.step, engine.submit, engine.after_step

        def timed_step():
            began = time.thread_time()
            step()
            self.steps += time.thread_time() - began

        def timed_submit(sequence: Sequence):
            give = sequence.give

            def timed_give(delta):
                began = time.thread_time()
                give(delta)
                self.given += time.thread_time() - began

            sequence.give = timed_give
            submit(sequence)

        def look():
            after()
            if engine.scheduler.answering == self.count:
                self.last = self.now()
                self.first = self.first or self.last

        engine.step, engine.submit, engine.after_step = timed_step, timed_submit, look

    def now(self):
        steps = self.engine.counts["steps"]
        return Moment(time.process_time(), self.steps, self.given, time.perf_counter(), steps)

    def measure(self, port, streams, n, tokens):  # -> us of HTTP and of the engine a token, tokens/s, ms a request
        """Let another process read `streams` requests at once, each with n answers."""
        call = f"read({port}, {streams}, {n}, {tokens})"
        self.count, self.first, self.last = streams * n, None, None
        before = self.now()
        subprocess.run([sys.executable, "-c", f"from benchmarks.serving_http import read; {call}"], check=True)
        if self.first is None or self.first is self.last:
            raise Refused("the first answer ended before the last one began: expected more --tokens")
        whole, found = self.now().since(before), self.last.since(self.first)
        count = found.number * streams * n
        each = found.http / count
        request = (whole.http - each * tokens * streams * n) / streams
        return 1e6 * each, 1e6 * (found.steps - found.given) / count, count / found.clock, 1e3 * request


def read(port, streams, n, tokens):
    """The clients: read every stream to its end."""
    body = {"prompt": "x", "max_tokens": tokens, "ignore_eos": True, "stream": True, "n": n}

    def one():
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("POST", "/v1/completions", json.dumps(body), {"content-type": "application/json"})
        last = connection.getresponse().read().splitlines()[-2]
        assert last == b"data: [DONE]", last

    threads = [threading.Thread(target=one) for _ in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
