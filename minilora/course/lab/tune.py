"""A fine-tuning run as short as the lessons need it: one task, one seed, the losses; and what to measure afterwards."""

import numpy as np

from ...files.shipped import shipped
from ...models.pretrained import load_pretrained
from ...tasks.scoring import score
from ...tasks.shipped import get_task
from ...text.batches import PairBatches, pad_pairs
from ...text.encoding import encode_pair, encode_text
from ...text.tokenizer import load_tokenizer
from ...training.callbacks import History
from ...training.loop import evaluate, train
from ...training.optim import AdamW, linear_decay


def load_base():  # -> model, TextTokenizer
    """The shipped base, frozen by nobody yet, and its tokenizer."""
    return load_pretrained(shipped("base")), load_tokenizer(shipped("base"))


def tune(model, tokenizer, task, steps=150, lr=3e-3, seed=0, batch_size=16):  # -> list of losses, one for each step
    """Train whatever of `model` is trainable on a task: AdamW, 10 steps of warm-up, then straight down to 0."""
    examples = get_task(task).examples("train")
    rng = np.random.default_rng([seed, 1])
    batches = PairBatches(examples, tokenizer, batch_size, model.config.max_position_embeddings, rng)
    optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=lr, weight_decay=0.0)
    history = History()
    train(model, batches, optimizer, steps, schedule=linear_decay(steps, 10), callbacks=[history])
    return history.loss


def test_score(model, tokenizer, task, examples=None):  # str, int or None -> float
    """Share of right answers among the first `examples` of the task's test split; None: all of them."""
    task = get_task(task)
    return score(model, tokenizer, task, task.examples("test")[:examples])[0]


def corpus_loss(model, tokenizer, windows=16, length=256):  # -> float
    """Loss on base text that no training has seen: how much of what the base knew is still there."""
    ids = encode_text(shipped("corpus_valid.txt").read_text(encoding="utf-8"), tokenizer)
    ids = ids[: windows * length].reshape(windows, length)
    return evaluate(model, [(ids, ids)])


def test_loss(model, tokenizer, task):  # str -> float
    """Mean loss on the responses of the task's test split: finer than a score, which counts whole answers."""
    pairs = [encode_pair(example, tokenizer) for example in get_task(task).examples("test")]
    return evaluate(model, [pad_pairs(pairs[i : i + 64], tokenizer.pad_id) for i in range(0, len(pairs), 64)])
