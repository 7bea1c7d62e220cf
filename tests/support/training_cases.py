"""A tiny model with an adapter, its optimizer and its batches, for the tests of training."""

import numpy as np
from tiny import random_ids, tiny_llama, with_lora

from minilora.ops.loss import IGNORE
from minilora.training.optim import AdamW
from minilora.training.resume import trained


def labelled(seed, shape=(2, 7), ignored=0):
    """A batch; the first `ignored` labels of each row do not count."""
    ids = random_ids(seed, shape)
    labels = ids.copy()
    labels[:, :ignored] = IGNORE
    return ids, labels


def endless(first=0):
    while True:
        yield labelled(first, ignored=first % 4)
        first += 1


def fresh(dropout=0.0, dtype=np.float32):
    model = with_lora(tiny_llama(dtype=dtype), targets="all-linear", dropout=dropout)
    return model, AdamW([p for _, p in trained(model)], lr=1e-2)
