"""One run of an experiment: tune the shipped base once and measure it."""

from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np

from minilora.adapters.model import get_peft_model
from minilora.errors import TrainingError
from minilora.files.shipped import shipped
from minilora.methods.lora import LoraConfig
from minilora.models.pretrained import load_base
from minilora.tasks.scoring import score
from minilora.tasks.shipped import get_task
from minilora.text.batches import PairBatches, pad_pairs
from minilora.text.encoding import encode_pair
from minilora.text.tokenizer import load_tokenizer
from minilora.training.loop import evaluate
from minilora.training.optim import AdamW, linear_decay
from minilora.training.resume import trained
from minilora.training.run import run_training

ALPHA = 16  # for every rank, as the paper does: the scale is ALPHA / r
GROUPS = {"attention": "q,k,v,o", "mlp": "gate,up,down"}


@dataclass(frozen=True)
class Run:
    """task: of the shipped ones; targets: "q,v", "attention", "mlp", "all" (every linear layer) or "full" (no LoRA:
    every parameter of the base); r: rank; examples: how many to train on, None: all; seed: adapter and batches."""

    task: str
    targets: str
    r: int = 0
    lr: float = 0.0
    steps: int = 60
    batch: int = 16
    examples: int | None = None
    seed: int = 0

    def adapt(self, model):
        """The model with the trainable part that the run names."""
        if self.targets == "full":
            return model
        config = LoraConfig(r=self.r, lora_alpha=ALPHA, target_modules=target_modules(self.targets))
        return get_peft_model(model, config, seed=self.seed)

    def groups(self, model):
        """What the optimizer trains: parameters, or groups of them with rates of their own."""
        return [p for _, p in trained(model)]

    def findings(self, model):  # -> dict
        """What the row of the run keeps of the trained model, beside losses and score."""
        return {}

    def counted(self):
        """The run whose model has the numbers that count as trained."""
        return self


def target_modules(targets):  # "q,v" -> ["q_proj", "v_proj"]
    if targets == "all":
        return "all-linear"
    return [f"{name}_proj" for name in GROUPS.get(targets, targets).split(",")]


@lru_cache
def tokenizer():
    return load_tokenizer(shipped("base"))


def build(run):  # -> the shipped base with the trainable part that the run names
    return run.adapt(load_base()[0])


def training_examples(run):
    """The first `examples` of the training split in one fixed random order, so that a small set is part of a larger."""
    examples = get_task(run.task).examples("train")
    order = np.random.default_rng(0).permutation(len(examples))
    return [examples[i] for i in order[: run.examples]]


def tune(run):  # -> model
    """AdamW without decay, a sixth of the steps warm-up, then straight down to 0. Raises TrainingError."""
    model = build(run)
    batches = PairBatches(
        training_examples(run), tokenizer(), run.batch, model.config.max_position_embeddings,
        np.random.default_rng([run.seed, 1]),
    )  # fmt: skip
    optimizer = AdamW(run.groups(model), lr=run.lr, weight_decay=0.0)
    run_training(model, batches, optimizer, run.steps, schedule=linear_decay(run.steps, run.steps // 6))
    return model


def mean_loss(model, examples):  # -> float, nats per token of the responses
    pairs = [encode_pair(e, tokenizer()) for e in examples]
    return evaluate(model, [pad_pairs(pairs[i : i + 64], tokenizer().pad_id) for i in range(0, len(pairs), 64)])


def tuned_by(run):
    """The measure that chooses the learning rate. A run with `examples` must learn them by heart: the loss on them."""
    return "train_loss" if run.examples else "valid_loss"


def measure(run, tuning=False):  # -> dict; all losses None where the training overflowed
    """A tuning run: the loss it is `tuned_by`. Others: test loss and score; with `examples`, the loss on those too."""
    names = [tuned_by(run)] if tuning else ["test_loss", "score"] + (["train_loss"] if run.examples else [])
    task = get_task(run.task)
    try:
        model = tune(run)
    except TrainingError:
        return dict.fromkeys(names)
    measures = {
        "valid_loss": lambda: mean_loss(model, task.examples("valid")),
        "test_loss": lambda: mean_loss(model, task.examples("test")),
        "score": lambda: score(model, tokenizer(), task, task.examples("test"))[0],
        "train_loss": lambda: mean_loss(model, training_examples(run)),
    }
    found = {} if tuning else run.findings(model)
    return {name: round(measures[name](), 6) for name in names} | found


@lru_cache
def parameters(run):  # -> int: how many are trained
    return sum(p.size for _, p in trained(build(run.counted())))


def row_key(run, tuning=False):  # -> dict, the part of a row that names it
    return {"tuning": tuning} | asdict(run)
