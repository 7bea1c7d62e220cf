"""What serving many adapters costs: python -m benchmarks.serving

Steps of the engine, without HTTP, in turns in one process, so that other work of the machine affects all alike: a
batch in which every row has an adapter of its own, against one in which all rows have the same, against the base alone,
with adapters in slots and without. Then the time to load an adapter. Whole requests are in serving_traffic.py.
"""

import tempfile
import time
from pathlib import Path

import click
import numpy as np

import minilora as ml
from minilora.adapters.inject import AdaptedModel
from minilora.files.shipped import shipped
from minilora.serving.engine import Engine
from minilora.serving.pool import Pool
from minilora.serving.requests import Sampling, Sequence
from minilora.text.streaming import TextStream
from minilora.text.tokenizer import load_tokenizer

from .floor import interleaved
from .models import QV, SIZES, build
from .options import OneLine, Several

PROMPT = 16  # tokens of a prompt
TARGETS = {  # (size, targets) -> most that rows with own adapters may cost, of a step in which all have the same
    ("lesson", "qv"): 1.3, ("lesson", "all-linear"): 1.8, ("768", "all-linear"): 1.15,
}  # fmt: skip
TOKENIZER = load_tokenizer(shipped("base"))


@click.command(cls=OneLine)
@click.option("--sizes", type=Several(SIZES), default="lesson,768", show_default=True)
@click.option("--targets", type=Several(["qv", "all-linear"]), default="qv,all-linear", show_default=True)
@click.option("--rows", default=64, show_default=True, type=click.IntRange(2, 256), help="Rows of the large batch.")
@click.option("--repeats", default=15, show_default=True, type=click.IntRange(3))
def main(sizes, targets, rows, repeats):
    """Ratios of steps, and the time to load an adapter."""
    click.echo(f"ms a step of {rows} rows with one token each; LoRA of rank 8; CPU time of one thread")
    click.echo(
        "size    targets     base  pool  base+pool  one  own  own/one  target  lora/base  8: lora/base  1: lora/base"
    )
    for size in sizes:
        for names in targets:
            show_steps(size, names, rows, repeats)
    show_loads(repeats)


def write_adapters(folder, model_of, names, count, std=0.01):
    """`count` adapters of rank 8 with random A and B in folder/0, folder/1, ..."""
    targets = QV["llama"] if names == "qv" else "all-linear"
    model = ml.get_peft_model(model_of(), ml.LoraConfig(r=8, target_modules=targets, init_lora_weights=False))
    rng = np.random.default_rng(0)
    for number in range(count):
        for name, p in model.named_parameters():
            if ".lora_" in name:
                p.data = (std * rng.standard_normal(p.shape)).astype(np.float32)
        model.save_pretrained(folder / str(number))


def new_engine(model, folder, slots, rows, memory=None):
    pool = Pool(AdaptedModel(model.eval()), slots, memory or max(64, slots), folder=folder)
    return Engine(model, pool, rows)


def ask(engine, adapter, length=PROMPT, count=400, seed=0):
    """Submit a request with a random prompt; returns its sequence."""
    rng = np.random.default_rng(seed)
    lease = None if adapter is None else engine.pool.lease(str(adapter))
    prompt, sampling = rng.integers(2, engine.model.config.vocab_size, length), Sampling(count, 0, ignore_eos=True)
    stream = TextStream([], TOKENIZER)
    sequence = Sequence(prompt, adapter, sampling, frozenset(), lambda delta: None, stream, rng, lease=lease)
    engine.submit(sequence)
    return sequence


def running(model, folder, adapters, slots):
    """An engine whose rows have these adapters and answer from now on, a token each a step."""
    engine = new_engine(model, folder, max(slots, 1), len(adapters))
    for seed, adapter in enumerate(adapters):
        ask(engine, adapter, seed=seed)
    engine.take()
    while engine.scheduler.answering < len(adapters):
        engine.step()
    return engine


def show_steps(size, names, rows, repeats):
    def model_of():
        return build("llama", SIZES[size])

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_adapters(folder, model_of, names, rows)
        cases = {"base": ([None] * rows, 0), "one": ([0] * rows, 1), "own": (list(range(rows)), rows)}
        cases |= {"base 8": ([None] * 8, 0), "lora 8": ([0] * 8, 1), "base 1": ([None], 0), "lora 1": ([0], 1)}
        engines = {name: running(model_of(), folder, *case) for name, case in cases.items()}
        pooled = running(
            model_of(), folder, [*range(min(8, rows))], 8
        )  # adapters are in slots, then base rows alone run
        for sequence in list(pooled.scheduler.running):
            pooled.cancel(sequence)
        pooled.step()
        for seed in range(rows):
            ask(pooled, None, seed=seed)
        pooled.scheduler.max_rows = rows
        pooled.cache = type(pooled.cache)(rows, pooled.max_model_len)
        pooled.take()
        while pooled.scheduler.answering < rows:
            pooled.step()
        engines["pool"] = pooled
        times = interleaved({name: engine.step for name, engine in engines.items()}, repeats)
    ms = {name: 1e3 * np.median(t) for name, t in times.items()}

    def ratio(a, b):
        return np.median(times[a] / times[b])

    target = TARGETS.get((size, names), "")
    click.echo(
        f"{size:7} {names:10} {ms['base']:5.1f} {ms['pool']:5.1f} {ratio('pool', 'base'):10.2f} {ms['one']:4.1f} "
        f"{ms['own']:4.1f} {ratio('own', 'one'):8.2f} {target!s:>7} {ratio('one', 'base'):10.2f} "
        f"{ratio('lora 8', 'base 8'):13.2f} {ratio('lora 1', 'base 1'):13.2f}"
    )


def show_loads(repeats):
    def model_of():
        return build("llama", SIZES["lesson"])

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_adapters(folder, model_of, "all-linear", repeats)
        engine = new_engine(model_of(), folder, repeats, 4)
        found, put = [], []
        for number in range(repeats):
            began = time.process_time()
            version = engine.pool.lease(str(number))
            found.append(time.process_time() - began)
            began = time.process_time()
            engine.pool.activate(version)
            put.append(time.process_time() - began)
    read, copy = (1e3 * np.median(seconds) for seconds in (found, put))
    click.echo(
        f"load of an adapter (lesson, all-linear): {read:.1f} ms to read and check (target 3), {copy:.2f} into a slot"
    )


if __name__ == "__main__":
    main()
