"""Training on a device: here a stand-in that refuses what a GPU would (strict_cupy.py)."""

import numpy as np
import strict_cupy
from strict_cupy import count_syncs
from tiny import SIZES, random_ids, tiny_llama, with_lora

from minilora.files.safetensors import read_tensors
from minilora.text.batches import TextBatches
from minilora.training.callbacks import Evaluation, History, LastGood, Saving
from minilora.training.loop import evaluate, train
from minilora.training.optim import AdamW
from minilora.training.resume import FILE, load_state, save_state, trained

TEXT = np.random.default_rng(7).integers(0, SIZES["vocab_size"], 300)


def build(on_device):
    model = with_lora(tiny_llama(), targets="all-linear", dropout=0.3)
    if on_device:
        for p in model.parameters():
            p.data = strict_cupy.asarray(p.data)
    optimizer = AdamW([p for _, p in trained(model)], lr=1e-2)
    batches = TextBatches(TEXT, 2, 8, np.random.default_rng(3))
    return model, optimizer, batches, np.random.default_rng(4), History(every=2)


def go_on(parts, steps, folder=None, start=0):
    model, optimizer, batches, rng, history = parts
    save = [Saving(lambda run: save_state(folder, run, history, {}), 1)] if folder else []
    train(model, batches, optimizer, steps, rng=rng, start=start, callbacks=[history, *save])
    return [p.numpy() for p in optimizer.params]


def test_a_run_saved_on_a_device_goes_on_there_with_the_same_bits(tmp_path):
    straight = go_on(build(on_device=True), 6)
    go_on(build(on_device=True), 3, tmp_path)
    parts = build(on_device=True)
    resumed = go_on(parts, 6, start=load_state(tmp_path, *parts))
    assert all(isinstance(p.data, strict_cupy.ndarray) for p in parts[1].params)
    assert all(np.array_equal(a, b) for a, b in zip(resumed, straight, strict=True))


def test_a_run_saved_on_a_device_goes_on_on_the_host(tmp_path):
    straight = go_on(build(on_device=True), 6)
    go_on(build(on_device=True), 3, tmp_path)
    assert {type(a) for a in read_tensors(tmp_path / FILE).values()} == {np.ndarray}
    parts = build(on_device=False)
    resumed = go_on(parts, 6, start=load_state(tmp_path, *parts))
    for a, b in zip(resumed, straight, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_an_evaluation_reads_the_device_once_however_many_batches_it_has():
    model = build(on_device=True)[0]
    batches = [(random_ids(i), random_ids(i)) for i in range(5)]
    with count_syncs() as syncs:
        evaluate(model, batches)
    assert len(syncs) == 1


def test_what_is_rescued_on_a_device_is_put_back_there():
    model, optimizer, batches, rng, history = build(on_device=True)
    evaluation, last_good = Evaluation([(random_ids(), random_ids())], history, every=3), LastGood(history)
    train(model, batches, optimizer, 6, rng=rng, callbacks=[history, evaluation, last_good])
    after = [p.numpy().copy() for p in optimizer.params]
    assert last_good.restore(optimizer.params) == 4
    assert any(not np.array_equal(p.numpy(), a) for p, a in zip(optimizer.params, after, strict=True))
    assert all(isinstance(p.data, strict_cupy.ndarray) for p in optimizer.params)
