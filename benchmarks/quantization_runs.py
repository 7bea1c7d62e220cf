"""What `python -m benchmarks.quantization` trains and measures on the shipped base; see QUANTIZATION.md.

A base that is stored and read again computes what the stored one does (tests/adapters/test_model_quantized.py), so most
runs use the weights that are read. PiSSA's start is taken while the base is loaded: these runs use the stored base.
"""

from dataclasses import asdict, dataclass
from functools import lru_cache, partial

import numpy as np

from minilora.adapters.model import get_peft_model
from minilora.adapters.parts import parts_of
from minilora.autograd import no_grad
from minilora.files.shipped import shipped
from minilora.methods.lora import LoraConfig
from minilora.models.pretrained import load_base
from minilora.nn import Linear
from minilora.quantization.nf4 import FourBit
from minilora.text.batches import TextBatches, text_windows, training_window
from minilora.text.encoding import encode_text
from minilora.training.distillation import Distillation
from minilora.training.loop import evaluate
from minilora.training.optim import AdamW, linear_decay
from minilora.training.resume import trained
from minilora.training.run import run_training

from .error_cut import error
from .experiments import SEEDS, TUNING_SEED
from .runs import ALPHA, Run, measure, tokenizer

DOUBLE, PISSA = "nf4, double", "pissa"
TYPES = {  # data type -> function (out, in) array -> Stored
    "float32": None,
    "nf4": FourBit.of,
    DOUBLE: partial(FourBit.of, double=True),
    "int4": partial(FourBit.of, kind="int4"),
    "fp4": partial(FourBit.of, kind="fp4"),
}
SETTINGS = (*((kind, "lora") for kind in TYPES), ("float32", PISSA), (DOUBLE, PISSA))  # (data type, start)
TASKS = ("sql", "data-to-text")
RATES = (2e-3, 5e-3, 1e-2, 2e-2)
STEPS = (15, 30, 60, 120)  # of the comparison at equal steps
RANK, RANKS = 8, (1, 2, 4, 8, 16, 32, 64)
TEACHER, LABELS = "the float32 base's probabilities", "the text alone"  # what the adapter of a recovery learns
RECOVERED = ((DOUBLE, "lora", TEACHER), ("fp4", "lora", TEACHER), (DOUBLE, PISSA, TEACHER), (DOUBLE, "lora", LABELS))
RECOVERY_RATES = (5e-4, 2e-3, 8e-3)
TEXT_STEPS = 40  # of the recovery, which sees plain text

COUNT = (  # of the rows
    len(TYPES) + len(RANKS) + len(TASKS) * (2 * len(RATES) + len(SEEDS) * len(SETTINGS))
    + len(STEPS) * len(SEEDS) * 2 + len(RECOVERED) * (len(RECOVERY_RATES) + len(SEEDS))
)  # fmt: skip


def config_of(start, r=RANK):
    init = True if start == "lora" else start
    return LoraConfig(r=r, lora_alpha=ALPHA, target_modules="all-linear", init_lora_weights=init)


def base_in(kind, start="lora", r=RANK):
    """The shipped base in a data type: its linear layers but the head."""
    if start == PISSA:
        return load_base(quantize="nf4" if kind == DOUBLE else None, parts=parts_of(config_of(PISSA, r)))[0]
    model = load_base()[0]
    for path, m in model.named_modules():
        if TYPES[kind] and isinstance(m, Linear) and path != "lm_head":
            m.replace_weight(TYPES[kind](m.dense()).dense())
    return model


@dataclass(frozen=True)
class OnStored(Run):
    """A run on the shipped base in a data type."""

    kind: str = "float32"
    start: str = "lora"

    def adapt(self, model):
        return get_peft_model(base_in(self.kind, self.start), config_of(self.start), seed=self.seed)


def run_of(task, kind, start, **more):
    return OnStored(task, "all", RANK, kind=kind, start=start, **more)


def key_of(run, tuning=False):
    return {"what": "task", "tuning": tuning} | asdict(run)


# ---- the rows, each missing one measured


def jobs(store):  # -> iterator of (key, function () -> measures)
    """In this order: a run needs the learning rate that earlier ones chose."""
    for kind in TYPES:
        yield {"what": "base", "kind": kind}, partial(text_measures, kind)
    for r in RANKS:
        yield {"what": "error", "r": r}, partial(error_cut, r)
    for task in TASKS:
        for start in ("lora", PISSA):
            for lr in RATES:
                yield task_job(run_of(task, "float32", start, lr=lr, seed=TUNING_SEED), tuning=True)
        for seed in SEEDS:
            for kind, start in SETTINGS:
                yield task_job(run_of(task, kind, start, lr=best_rate(store, task, start), seed=seed))
    for steps in STEPS:
        for seed in SEEDS:
            for kind in ("float32", DOUBLE):
                lr = best_rate(store, TASKS[0], "lora")
                yield task_job(run_of(TASKS[0], kind, "lora", lr=lr, seed=seed, steps=steps))
    for setting in RECOVERED:
        for lr in RECOVERY_RATES:
            yield recovery_job(*setting, lr, TUNING_SEED, CHOOSING)
        for seed in SEEDS:
            yield recovery_job(*setting, recovery_rate(store, *setting), seed, REPORTING)


def task_job(run, tuning=False):
    return key_of(run, tuning), partial(measure, run, tuning)


def recovery_job(kind, start, learns, lr, seed, half):
    return recovery_key(kind, start, learns, lr, seed), partial(recovery, kind, start, learns, lr, seed, half)


def recovery_key(kind, start, learns, lr, seed):
    return {"what": "recovery", "kind": kind, "start": start, "learns": learns, "lr": lr, "seed": seed}


def recovery_rate(store, kind, start, learns):
    """The learning rate with the least divergence on the windows that choose, with seed TUNING_SEED."""
    keys = {lr: recovery_key(kind, start, learns, lr, TUNING_SEED) for lr in RECOVERY_RATES}
    return min(RECOVERY_RATES, key=lambda lr: store.find(keys[lr])["divergence"])


def best_rate(store, task, start):
    """The learning rate with the lowest validation loss on the float32 base, with seed TUNING_SEED, for every type."""
    runs = {lr: run_of(task, "float32", start, lr=lr, seed=TUNING_SEED) for lr in RATES}
    return min(RATES, key=lambda lr: store.find(key_of(runs[lr], tuning=True))["valid_loss"])


# ---- on plain text: the loss of a base, and how far its probabilities are from those of the float32 base


@lru_cache(1)
def float32_base():
    return load_base()[0]


@lru_cache
def text(name):
    return encode_text(shipped(name).read_text(encoding="utf-8"), tokenizer())


ALL = slice(None)  # of the batches of the validation text; half of them choose a learning rate, the others are reported
CHOOSING, REPORTING = slice(0, None, 2), slice(1, None, 2)


def text_losses(model, part=ALL):  # -> {loss, divergence}, nats per token
    context = model.config.max_position_embeddings
    windows = text_windows(text("corpus_valid.txt"), training_window(text("corpus_valid.txt"), context), 16)[part]
    apart = Distillation(float32_base(), temperature=1.0, mix=1.0)
    with no_grad():
        divergence = np.mean([apart(model, *batch).item() for batch in windows])
    return {"loss": round(evaluate(model, windows), 6), "divergence": round(float(divergence), 6)}


def text_measures(kind):
    return text_losses(base_in(kind))


def recovery(kind, start, learns, lr, seed, half):
    """An adapter on the quantized base learns the float32 base's probabilities, or the text that the base knows."""
    model = get_peft_model(base_in(kind, start), config_of(start), seed=seed)
    before, whole = text_losses(model, half), text_losses(float32_base(), half)
    window = training_window(text("corpus.txt"), model.config.max_position_embeddings)
    batches = TextBatches(text("corpus.txt"), 8, window, np.random.default_rng([seed, 1]))
    optimizer = AdamW([p for _, p in trained(model)], lr=lr, weight_decay=0.0)
    more = {"loss_of": Distillation(float32_base(), temperature=1.0, mix=1.0)} if learns == TEACHER else {}
    run_training(model, batches, optimizer, TEXT_STEPS, schedule=linear_decay(TEXT_STEPS, TEXT_STEPS // 6), **more)
    measures = {f"{name} before": v for name, v in before.items()} | text_losses(model, half)
    return measures | {"float32's loss": whole["loss"]}


# ---- the weights


def error_cut(r):  # -> {path: percent}
    """How much of the error of NF4 PiSSA's start cuts, ‖W - W'‖* of the base as it is loaded; see error_cut.py."""
    plain, apart = load_base(quantize="nf4")[0], base_in(DOUBLE, PISSA, r)
    cut = {}
    for path, m in float32_base().named_modules():
        if isinstance(m, Linear) and path != "lm_head":
            W = m.dense().astype(np.float64)
            whole, rest = (error(W - model.get_submodule(path).dense()) for model in (plain, apart))
            cut[path.removeprefix("model.layers.")] = round(100 * (1 - rest / whole), 3)
    return {"cut": cut}
