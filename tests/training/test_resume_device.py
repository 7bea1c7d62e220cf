"""What a training reads from a device, and puts back there: here a stand-in. Resuming on one: gpu/test_training.py."""

import numpy as np
import strict_cupy
from strict_cupy import count_syncs
from tiny import SIZES, random_ids, tiny_llama, with_lora

from minilora.text.batches import TextBatches
from minilora.training.callbacks import Evaluation, History, LastGood
from minilora.training.loop import evaluate, train
from minilora.training.optim import AdamW
from minilora.training.resume import trained

TEXT = np.random.default_rng(7).integers(0, SIZES["vocab_size"], 300)


def build():
    model = with_lora(tiny_llama(), targets="all-linear", dropout=0.3)
    for p in model.parameters():
        p.data = strict_cupy.asarray(p.data)
    optimizer = AdamW([p for _, p in trained(model)], lr=1e-2)
    batches = TextBatches(TEXT, 2, 8, np.random.default_rng(3))
    return model, optimizer, batches, np.random.default_rng(4), History(every=2)


def test_an_evaluation_reads_the_device_once_however_many_batches_it_has():
    model = build()[0]
    batches = [(random_ids(i), random_ids(i)) for i in range(5)]
    with count_syncs() as syncs:
        evaluate(model, batches)
    assert len(syncs) == 1


def test_what_is_rescued_on_a_device_is_put_back_there():
    model, optimizer, batches, rng, history = build()
    evaluation, last_good = Evaluation([(random_ids(), random_ids())], history, every=3), LastGood(history)
    train(model, batches, optimizer, 6, rng=rng, callbacks=[history, evaluation, last_good])
    after = [p.numpy().copy() for p in optimizer.params]
    assert last_good.restore(optimizer.params) == 4
    assert any(not np.array_equal(p.numpy(), a) for p, a in zip(optimizer.params, after, strict=True))
    assert all(isinstance(p.data, strict_cupy.ndarray) for p in optimizer.params)
