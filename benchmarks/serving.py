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
ROW = "{:7} {:10} {:>6} {:>6} {:>6} {:>6} {:>8} {:>7} {:>7} {:>8} {:>7} {:>8} {:>7} {:>7}"
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
        "pool, lora: ratios to a step of as many rows of the base alone (targets: pool 1.02, with 1 row 1.06; lora"
    )
    click.echo("1.25, with 1 row 1.45)")
    ratios = [f"pool {rows}", "pool 8", "pool 1", "own/one", "target", f"lora {rows}", "lora 8", "lora 1"]
    click.echo(ROW.format("size", "targets", "base", "pool", "one", "own", *ratios))
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


def beside_a_pool(model, folder, adapters, rows):
    """An engine with adapters in its slots whose rows are the base's alone."""
    engine = running(model, folder, [*range(adapters)], adapters)
    for sequence in list(engine.scheduler.running):
        engine.cancel(sequence)
    engine.step()
    engine.scheduler.max_rows = rows
    engine.cache = type(engine.cache)(rows, engine.max_model_len)
    for seed in range(rows):
        ask(engine, None, seed=seed)
    engine.take()
    while engine.scheduler.answering < rows:
        engine.step()
    return engine


def show_steps(size, names, rows, repeats):
    def model_of():
        return build("llama", SIZES[size])

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_adapters(folder, model_of, names, rows)
        cases = {f"base {rows}": ([None] * rows, 0), "one": ([0] * rows, 1), "own": (list(range(rows)), rows)}
        cases |= {"base 8": ([None] * 8, 0), "lora 8": ([0] * 8, 1), "base 1": ([None], 0), "lora 1": ([0], 1)}
        engines = {name: running(model_of(), folder, *case) for name, case in cases.items()}
        engines |= {f"pool {n}": beside_a_pool(model_of(), folder, min(8, rows), n) for n in (rows, 8, 1)}
        steps = {name: engine.step for name, engine in engines.items()}
        few = {name for name in steps if name.endswith((" 8", " 1"))}  # short steps, whose ratios need more rounds
        times = interleaved({name: step for name, step in steps.items() if name not in few}, repeats)
        times |= interleaved({name: steps[name] for name in steps if name in few}, 5 * repeats)
    ms = {name: 1e3 * np.median(t) for name, t in times.items()}

    def ratio(a, b):
        return np.median(times[a] / times[b])

    ratios = [ratio(f"pool {n}", f"base {n}") for n in (rows, 8, 1)]
    ratios += [ratio("own", "one"), ratio("one", f"base {rows}"), ratio("lora 8", "base 8"), ratio("lora 1", "base 1")]
    milliseconds = [ms[name] for name in (f"base {rows}", f"pool {rows}", "one", "own")]
    shown = [*(f"{m:.1f}" for m in milliseconds), *(f"{r:.2f}" for r in ratios)]
    target = TARGETS.get((size, names), "")
    click.echo(ROW.format(size, names, *shown[:7], shown[7], target, *shown[8:]))


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
