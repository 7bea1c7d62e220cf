"""What HTTP adds to a token of a stream: python -m benchmarks.serving_http

A server in this process, its clients in another one. The cost is the CPU time of this process that is not the engine's,
and the engine's own time in handing a token over, divided by the tokens. Reading requests is in it.
"""

import http.client
import json
import subprocess
import sys
import threading
import time

import click

from minilora.serving.listener import HttpServer, listen
from minilora.serving.requests import Sequence
from minilora.serving.start import start_server

from .options import OneLine, Several

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
    click.echo(f"streams  tokens  HTTP us/token (target {TARGET})  engine us/token  client sees tokens/s")
    try:
        for count in map(int, streams):
            found = [clock.measure(listener.getsockname()[1], count, tokens) for _ in range(rounds)]
            http_us, engine_us, rate = sorted(found)[len(found) // 2]
            click.echo(f"{count:7} {count * tokens:7} {http_us:28.0f} {engine_us:16.0f} {rate:21,.0f}")
    finally:
        running.should_exit = True
        thread.join()


class Clock:
    """CPU time of the engine's thread, split into its steps and the handing over of tokens."""

    def __init__(self, engine):
        self.engine, self.steps, self.given = engine, 0.0, 0.0
        step, submit = engine.step, engine.submit

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

        engine.step, engine.submit = timed_step, timed_submit

    def measure(self, port, streams, tokens):  # -> microseconds of HTTP, of the engine, tokens per second
        """Let another process read `streams` answers at once."""
        command = [sys.executable, "-c", f"from benchmarks.serving_http import read; read({port}, {streams}, {tokens})"]
        before = time.process_time(), self.steps, self.given
        began = time.perf_counter()
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - began
        whole, steps, given = (
            a - b for a, b in zip((time.process_time(), self.steps, self.given), before, strict=True)
        )
        count = streams * tokens
        return 1e6 * (whole - steps + given) / count, 1e6 * (steps - given) / count, count / seconds


def read(port, streams, tokens):
    """The clients: read every stream to its end."""
    body = {"prompt": "x", "max_tokens": tokens, "ignore_eos": True, "stream": True}

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
