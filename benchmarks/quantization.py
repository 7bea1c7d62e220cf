"""`python -m benchmarks.quantization`: what a base in 4, 8 or 16 bits costs, and what it loses.

Bytes, a training step and a decoded token beside those of the float32 base, at width 768 with 1,024 tokens: one thread,
CPU time. With `--types` also each data type: the loss of the shipped base on its validation text, and after QLoRA the
loss and the score on a task, with three seeds. A base that is stored and read again computes what the stored one does
(tests/adapters/test_model_quantized.py), so the runs use the weights that are read. Writes results/quantization.json.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

import minilora as ml
from minilora.autograd import no_grad
from minilora.models.llama import LlamaConfig
from minilora.models.pretrained import load_base, model_of, storage_named
from minilora.nn import Linear
from minilora.quantization.nf4 import FourBit
from minilora.tasks.scoring import measure as measure_base

from .floor import interleaved
from .options import OneLine, environment
from .runs import Run, measure, tokenizer

RESULTS = Path(__file__).parent / "results" / "quantization.json"
SIZE = LlamaConfig(512, 768, 2112, 2, 12)
BASES = {
    "float32": {},
    "nf4, double": storage_named("nf4"),
    "nf4": {"quantization_config": ml.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")},
    "int8": storage_named("int8"),
    "bf16": storage_named("bf16"),
}
TYPES = {  # data type -> function (out, in) array -> Stored
    "float32": None,
    "nf4": FourBit.of,
    "nf4, double": lambda W: FourBit.of(W, double=True),
    "fp4": lambda W: FourBit.of(W, "fp4"),
    "int4": lambda W: FourBit.of(W, "int4"),
}
SEEDS, TASK, RANK, RATE = (0, 1, 2), "sql", 8, 1e-2


@dataclass(frozen=True)
class OnStored(Run):
    """A run on the shipped base whose linear layers, but the head, are stored as `kind` and read again."""

    kind: str = "float32"

    def adapt(self, model):
        return super().adapt(stored_and_read(model, self.kind))


def stored_and_read(model, kind):
    for path, m in model.named_modules():
        if TYPES[kind] and isinstance(m, Linear) and path != "lm_head":
            m.replace_weight(TYPES[kind](m.dense()).dense())
    return model


@click.command(cls=OneLine)
@click.option("--repeats", default=7, show_default=True, type=click.IntRange(3))
@click.option("--types", is_flag=True, help="Tune the shipped base in each data type too: 15 runs.")
def main(repeats, types):
    """Bytes, time of a step and of a token of each format; with --types, losses and scores of each data type."""
    if (env := environment(1)) != dict(os.environ):  # NumPy has read it already, so this needs a new process
        command = [sys.executable, "-m", __spec__.name, *sys.argv[1:]]
        sys.exit(subprocess.run(command, env=env, check=False).returncode)
    found = {"command": "python -m benchmarks.quantization --types", "formats": formats(repeats)}
    if types:
        found["types"] = []
        for kind in TYPES:
            found["types"].append(of_type(kind))
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def formats(repeats):  # -> list of rows
    """Each format beside float32; the figures are medians of ratios."""
    with tempfile.TemporaryDirectory() as folder:
        model_of(SIZE).init(0).save_pretrained(folder)
        models = {name: adapted(folder, stored) for name, stored in BASES.items()}
    steps = interleaved({name: step_of(model) for name, model in models.items()}, repeats)
    tokens = interleaved({name: token_of(model) for name, model in models.items()}, repeats)
    rows = []
    for name, model in models.items():
        step, token = (float(np.median(np.array(t[name]) / np.array(t["float32"]))) for t in (steps, tokens))
        weights = [p for n, p in model.named_parameters() if n.endswith("proj.base_layer.weight")]
        share = sum(w.data.nbytes for w in weights) / sum(4 * w.size for w in weights)
        rows.append({"format": name, "bytes": round(share, 4), "step": round(step, 3), "token": round(token, 2)})
        print(f"{name:12} bytes {share:.4f}   step {step:.3f}   token {token:.2f}   of float32's", flush=True)
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


def of_type(kind):  # -> a row
    """The base in this data type, and adapters trained on it."""
    base = stored_and_read(load_base()[0], kind)
    loss = measure_base(base, tokenizer(), text=[ml.shipped("corpus_valid.txt")]).loss
    runs = [measure(OnStored(TASK, "all", RANK, RATE, seed=seed, kind=kind)) for seed in SEEDS]
    row = {"type": kind, "base_loss": round(loss, 4), "seeds": list(SEEDS)}
    row |= {name: [round(run[name], 4) for run in runs] for name in ("test_loss", "score")}
    print(f"{kind:12} base {loss:.4f}   after QLoRA: test loss {np.mean(row['test_loss']):.4f}, "
          f"score {np.mean(row['score']):.3f} ± {np.std(row['score']):.3f}", flush=True)  # fmt: skip
    return row


if __name__ == "__main__":
    main()
