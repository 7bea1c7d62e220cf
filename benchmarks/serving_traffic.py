"""A server's engine under traffic, without HTTP: python -m benchmarks.serving_traffic

Clients in threads of their own ask one after another: take the adapter (which reads its folder if it is not in memory),
submit, wait for the answer, ask again. The engine has its thread, as in a server. Time by the clock, so run it on a
machine that does nothing else.

    --check N    N requests over 1,000 adapters, each answer compared with that of its adapter alone
    --loads      how long a decode step takes while adapters are read all the time
"""

import itertools
import queue
import tempfile
import threading
import time
from pathlib import Path

import click
import numpy as np

import minilora as ml
from minilora.serving.requests import Sampling, Sequence
from minilora.text.streaming import TextStream

from .models import SIZES, build
from .options import OneLine, Refused, Several
from .serving import PROMPT, TOKENIZER, ask, new_engine, running, write_adapters

KINDS = ("uniform", "skewed", "round-robin")
ROW = "{:>8} {:12} {:>9} {:>11} {:>15} {:>17} {:>15} {:>15}"
TIE = 1e-3  # two logits closer than this may change places with the shape of the batch


@click.command(cls=OneLine)
@click.option("--adapters", type=Several(), default="1,4,16,64,1000", show_default=True, help="How many there are.")
@click.option("--traffic", type=Several(KINDS), default=",".join(KINDS), show_default=True)
@click.option("--requests", default=320, show_default=True, type=click.IntRange(1), help="Requests of each case.")
@click.option("--clients", default=32, show_default=True, type=click.IntRange(1, 64), help="Requests at once.")
@click.option("--tokens", default=32, show_default=True, type=click.IntRange(2, 400), help="Tokens of an answer.")
@click.option("--check", type=click.IntRange(1), metavar="N", help="Compare the answers of N requests instead.")
@click.option("--loads", is_flag=True, help="Measure steps while adapters are read instead.")
def main(adapters, traffic, requests, clients, tokens, check, loads):
    """Throughput and latency by the number of adapters and the kind of traffic."""
    if loads:
        return show_loads(clients=8)
    with tempfile.TemporaryDirectory() as folder:
        counts = [int(n) for n in adapters]
        write_adapters(Path(folder), model_of, "all-linear", 1000 if check else max(counts), 0.1 if check else 0.01)
        if check:
            return show_check(Path(folder), 1000, check, clients)
        click.echo(
            f"{requests} requests of {PROMPT} + {tokens} tokens, {clients} at once; 32 slots, 64 in memory; lesson size"
        )
        click.echo("LoRA of rank 8 on all linear layers; milliseconds; reads: how often a folder was read")
        click.echo(ROW.format("adapters", "traffic", "tokens/s", "reads", "first: p50", "p99", "each: p50", "p99"))
        for count, kind in itertools.product(counts, traffic):
            if count > 1 or kind == traffic[0]:
                show_traffic(Path(folder), count, kind, requests, clients, tokens)


def model_of():
    return build("llama", SIZES["lesson"])


def order_of(kind, adapters, requests):
    """Which adapter each request asks for. Skewed: Zipf's law, adapter k in proportion to 1 / k."""
    rng = np.random.default_rng(1)
    if kind == "round-robin":
        return np.arange(requests) % adapters
    weights = np.ones(adapters) if kind == "uniform" else 1 / np.arange(1, adapters + 1)
    return rng.choice(adapters, requests, p=weights / weights.sum())


class Clients:
    """Threads that ask an engine one request after another."""

    def __init__(self, engine, count):
        self.engine, self.count = engine, count
        self.work = queue.SimpleQueue()

    def run(self, jobs):  # [(adapter, prompt, tokens)] -> [(tokens, times)] in their order, seconds of all
        """Ask for all. times: by the clock, of the request and of every token."""
        answers: list = [None] * len(jobs)
        for index, job in enumerate(jobs):
            self.work.put((index, job))
        threads = [threading.Thread(target=self._client, args=(answers,)) for _ in range(self.count)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - began
        if failed := [answer for answer in answers if isinstance(answer, Exception)]:
            raise Refused(f"{len(failed)} of {len(jobs)} requests failed: {type(failed[0]).__name__}: {failed[0]}")
        return answers, seconds

    def _client(self, answers):
        while not self.work.empty():
            try:
                index, job = self.work.get_nowait()
            except queue.Empty:
                return
            try:
                answers[index] = self._ask(*job)
            except Exception as error:
                answers[index] = error

    def _ask(self, adapter, prompt, count):
        times, done = [time.perf_counter()], threading.Event()

        def give(delta):
            times.append(time.perf_counter())
            if delta.finish_reason:
                done.set()

        lease = self.engine.pool.lease(str(adapter))
        stream, rng = TextStream([], TOKENIZER), np.random.default_rng(0)
        sampling = Sampling(count, 0, ignore_eos=True)
        sequence = Sequence(prompt, str(adapter), sampling, frozenset(), give, stream, rng, lease=lease)
        self.engine.submit(sequence)
        done.wait()
        return sequence.tokens, times


def prompt_of(number, length=PROMPT):
    return np.random.default_rng(number).integers(2, 1024, length)


def show_traffic(folder, adapters, kind, requests, clients, tokens):
    engine = new_engine(model_of(), folder, 32, 64, 64)
    reads = []
    engine.pool.observe = reads.append
    engine.start()
    jobs = [(a, prompt_of(i), tokens) for i, a in enumerate(order_of(kind, adapters, requests))]
    answers, seconds = Clients(engine, clients).run(jobs)
    engine.stop()
    if failed := sum(len(found) != tokens for found, _ in answers):
        raise Refused(f"{failed} of {requests} answers have not {tokens} tokens")
    first = [1e3 * (times[1] - times[0]) for _, times in answers]
    each = [1e3 * (b - a) for _, times in answers for a, b in itertools.pairwise(times[1:])]
    shown = [f"{np.percentile(values, p):.1f}" for values in (first, each) for p in (50, 99)]
    click.echo(ROW.format(adapters, kind, f"{requests * tokens / seconds:,.0f}", len(reads), *shown))


def show_check(folder, adapters, requests, clients, tokens=8):
    """Every answer against its adapter alone: the same tokens, up to the first place where two logits tie."""
    expected, distinct = {}, set()
    model = ml.PeftModel.from_pretrained(model_of(), folder / "0", "0").eval()
    for number in range(adapters):
        if number:
            model.load_adapter(folder / str(number), str(number))
            model.set_adapter(str(number))
            model.delete_adapter(str(number - 1))
        prompt = prompt_of(number)
        found = model.generate(prompt, tokens)[0]
        logits = np.sort(model(found[None]).numpy()[0, len(prompt) - 1 : -1], axis=-1)  # (tokens, V)
        ties = np.flatnonzero(logits[:, -1] - logits[:, -2] < TIE)
        expected[number] = found[len(prompt) :].tolist(), ties[0] if len(ties) else tokens
        distinct.add(tuple(expected[number][0]))
    engine = new_engine(model_of(), folder, 32, 64, 64)
    engine.start()
    order = order_of("uniform", adapters, requests)
    answers, seconds = Clients(engine, clients).run([(a, prompt_of(a), tokens) for a in order])
    engine.stop()
    wrong, tied = 0, 0
    for number, (found, _) in zip(order, answers, strict=True):
        right, sure = expected[number]
        wrong += found[:sure] != right[:sure]
        tied += sure < tokens
    click.echo(
        f"{requests:,} requests over {adapters:,} adapters in {seconds:.0f} s: {wrong} wrong; {len(distinct)} "
        f"different answers; {tied} were compared up to a tie of less than {TIE}; in memory at the end: "
        f"{len(engine.pool.versions)}, of them in use: {sum(v.leases > 0 for v in engine.pool.versions.values())}"
    )


def show_loads(clients, adapters=100, steps=600):
    """Steps of `clients` rows while another thread reads adapters, one after another.

    CPU time of the process, so that other programs do not count: of the step, and of the reader meanwhile, because
    Python runs one of them at a time.
    """
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_adapters(folder, model_of, "all-linear", adapters)
        for loading in (False, True):
            engine = running(model_of(), folder, list(range(clients)), 32)
            times, reads, goes_on = [], [], threading.Event()
            goes_on.set()

            def load(engine=engine, reads=reads, goes_on=goes_on):
                for number in itertools.cycle(range(clients, adapters)):
                    if not goes_on.is_set():
                        return
                    began = time.perf_counter()
                    engine.pool.release(engine.pool.lease(str(number)))
                    reads.append(time.perf_counter() - began)

            thread = threading.Thread(target=load if loading else lambda: None)
            thread.start()
            try:
                while len(times) < steps:
                    times.append(one_step(engine, clients))
            finally:
                goes_on.clear()
                thread.join()
            if loading and not reads:
                raise Refused("no adapter was read in all the time")
            said = f", {len(reads)} reads of {1e3 * np.median(reads):.1f} ms" if loading else ""
            p50, p99 = np.percentile(times, [50, 99])
            click.echo(
                f"a step of {clients} rows {'while adapters are read' if loading else 'alone':24}: p50 {p50:.2f}, p99 "
                f"{p99:.2f} ms of CPU time (target with loads: 4){said}"
            )


def one_step(engine, clients):  # -> milliseconds of CPU time
    """A step in which that many rows answer. Rows whose answers have ended are replaced before."""
    if engine.scheduler.answering < clients:
        for number in range(clients):
            ask(engine, number)
        engine.take()
        while engine.scheduler.answering < clients:
            engine.step()
    began = time.process_time()
    with engine.pool.turn():
        engine.step()
    return 1e3 * (time.process_time() - began)


if __name__ == "__main__":
    main()
