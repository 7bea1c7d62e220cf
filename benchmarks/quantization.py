"""`python -m benchmarks.quantization`: what a base in 4, 8 or 16 bits costs, and what it loses.

Bytes, a training step and a decoded token beside those of the float32 base, at width 768 with 1,024 tokens: one thread,
CPU time. Then what quantization_runs.py lists, on the shipped base. Every row is saved at once in
benchmarks/results/quantization.part; after an interruption the same command goes on where it stopped. It draws the
figures and writes the tables into benchmarks/QUANTIZATION.md.
"""

import os
import subprocess
import sys
import tempfile

import click
import numpy as np

import minilora as ml
from minilora.autograd import no_grad
from minilora.files.atomic import write_text
from minilora.models.llama import LlamaConfig
from minilora.models.pretrained import model_of, storage_named

from .experiments import SEEDS, TUNING_SEED
from .floor import interleaved
from .options import OneLine, environment
from .paper import with_table
from .quantization_page import FIGURES, PAGE, TABLES
from .quantization_runs import COUNT, jobs
from .rows import Rows
from .running import HERE, progress

SIZE = LlamaConfig(512, 768, 2112, 2, 12)
REPEATS = 7
BASES = {
    "float32": {},
    "nf4, double": storage_named("nf4"),
    "nf4": {"quantization_config": ml.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")},
    "int8": storage_named("int8"),
    "bf16": storage_named("bf16"),
}


def results(folder=HERE / "results"):
    command = "python -m benchmarks.quantization"
    return Rows(folder / "quantization.json", command=command, seeds=list(SEEDS), tuning_seed=TUNING_SEED)


@click.command(cls=OneLine)
def main():
    """Measure the missing rows, draw the figures and write the tables into the page."""
    if (env := environment(1)) != dict(os.environ):  # NumPy has read it already, so this needs a new process
        sys.exit(subprocess.run([sys.executable, "-m", __spec__.name], env=env, check=False).returncode)
    store = results()
    if not store.find({"what": "format"}):
        store.add(*formats())
    with progress(COUNT) as step:
        for key, measure in jobs(store):
            missing = store.find(key) is None
            if missing:
                store.add(key | measure())
            step(missing, ", ".join(str(v) for v in key.values() if isinstance(v, str)))
    store.finish()
    for name, draw in FIGURES.items():
        draw(store, HERE / "figures" / f"{name}.png")
    for name, table in TABLES.items():
        write_text(PAGE, with_table(PAGE.read_text(encoding="utf-8"), name, table(store)))
        click.echo(f"\n{table(store)}")


def formats():  # -> list of rows
    """Each format beside float32: shares of its bytes, of a step and of a token; medians of ratios within a round."""
    with tempfile.TemporaryDirectory() as folder:
        model_of(SIZE).init(0).save_pretrained(folder)
        models = {name: adapted(folder, stored) for name, stored in BASES.items()}
    steps = interleaved({name: step_of(model) for name, model in models.items()}, REPEATS)
    tokens = interleaved({name: token_of(model) for name, model in models.items()}, REPEATS)
    rows = []
    for name, model in models.items():
        step, token = (float(np.median(np.array(t[name]) / np.array(t["float32"]))) for t in (steps, tokens))
        weights = [p for n, p in model.named_parameters() if n.endswith("proj.base_layer.weight")]
        share = sum(w.data.nbytes for w in weights) / sum(4 * w.size for w in weights)
        row = {"format": name, "bytes": round(share, 4), "step": round(step, 3), "token": round(token, 2)}
        rows.append({"what": "format"} | row)
    return rows


def adapted(folder, stored):
    model = ml.load_pretrained(folder, **stored)
    return ml.get_peft_model(model, ml.LoraConfig(r=8, target_modules="all-linear")).train()


def step_of(model):
    optimizer = ml.AdamW([p for p in model.parameters() if p.requires_grad])
    ids = np.random.default_rng(0).integers(0, SIZE.vocab_size, (8, 128))

    def step():
        model.loss(ids, ids).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def token_of(model):
    def decode():  # 16 tokens
        with no_grad():
            model.generate([[1, 2, 3]], 16)

    return decode


if __name__ == "__main__":
    main()
