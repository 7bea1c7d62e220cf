"""What the playground runs in the page's Python: an adapter on the shipped base, trained a few steps at a time.

The page sends `begin(...)`, then `go(...)` again and again, so that it can stop between two steps. Every result is a
message to the page.
"""

import json
import tempfile
from pathlib import Path

import numpy as np

from minilora import LoraConfig, get_peft_model
from minilora.course.lab.tune import load_base
from minilora.text.batches import PairBatches
from minilora.training.loop import train
from minilora.training.optim import AdamW, linear_decay

RATE, BATCH = 5e-3, 10


class Playground:
    """A training: the model with its adapter, its batches and its optimizer."""

    def __init__(self, lines, rank, steps):  # lines: [(question, answer)]
        base, tokenizer = load_base()
        config = LoraConfig(
            r=rank, lora_alpha=rank, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        self.model = get_peft_model(base, config, seed=0)
        examples = [{"prompt": question, "response": answer} for question, answer in lines]
        longest = base.config.max_position_embeddings
        rng = np.random.default_rng(0)
        self.batches = PairBatches(examples, tokenizer, min(BATCH, len(lines)), longest, rng)
        learning = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = AdamW(learning, lr=RATE, weight_decay=0.0)
        self.steps, self.step = steps, 0

    def go(self, steps):  # -> the loss of the last of them
        for _ in range(min(steps, self.steps - self.step)):
            schedule = linear_decay(self.steps, min(5, self.steps))
            run = train(
                self.model, self.batches, self.optimizer, self.step + 1, schedule, start=self.step
            )
            self.step += 1
        return float(run.loss)

    def files(self):  # -> {name: bytes}, the adapter as a folder of PEFT
        with tempfile.TemporaryDirectory() as folder:
            self.model.save_pretrained(folder)
            return {p.name: p.read_bytes() for p in sorted(Path(folder).iterdir())}


def send(**fields):
    """A message to the page: {playground: fields}."""
    from js import Object, postMessage  # the browser's, in Pyodide's worker
    from pyodide.ffi import to_js

    postMessage(to_js({"playground": fields}, dict_converter=Object.fromEntries))


def begin(text):
    """text: JSON of {lines, rank, steps}."""
    global playground
    playground = Playground(**json.loads(text))


def go(steps):
    send(loss=playground.go(steps), step=playground.step)


def give_files():
    send(files=playground.files())
