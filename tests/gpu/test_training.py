"""Training on a device: precisions, accumulation, recomputation, dropout, optimizers, callbacks, exact resume."""

import itertools
from functools import partial

import numpy as np
import pytest
from places import assert_all_close, assert_all_same_bits, assert_close, is_all_on, slow_but
from tiny import SIZES, random_ids, tiny_llama, with_lora
from training_cases import endless, labelled

import minilora as ml
from minilora import ops
from minilora.autograd import Tensor
from minilora.backend import to_device, to_host
from minilora.errors import TrainingError
from minilora.files.safetensors import read_tensors
from minilora.nn import Parameter
from minilora.text.batches import TextBatches
from minilora.training.callbacks import History
from minilora.training.distillation import Distillation
from minilora.training.loop import evaluate, train
from minilora.training.optim import SGD, AdamW, clip_grad_norm_, cosine
from minilora.training.precision import precision_named
from minilora.training.resume import FILE, trained
from minilora.training.run import RunFolder, run_training

DORA = ml.LoraConfig(r=3, lora_alpha=5, target_modules="all-linear", use_dora=True)
MODELS = {
    "full": tiny_llama,
    "lora": lambda: with_lora(tiny_llama(), "all-linear"),
    "dropout": lambda: with_lora(tiny_llama(), "all-linear", dropout=0.3),
    "dora": lambda: ml.get_peft_model(tiny_llama(), DORA, seed=1),
}


def learned(device, make="dropout", steps=3, optimizer=None, **options):
    """-> the losses, the norms and the trained arrays after some steps."""
    model = MODELS[make]().to(device)
    optimizer = (optimizer or partial(AdamW, lr=1e-2, eps=1e-2))([p for _, p in trained(model)])
    found = []

    def note(run):
        if run.loss is not None:
            found.extend([to_host(run.loss), to_host(run.norm)])

    train(model, endless(), optimizer, steps, rng=np.random.default_rng(4), callbacks=[note], **options)
    assert is_all_on(model, "cpu" if device == "cpu" else "cuda:0")
    return [*found, *(to_host(p.data) for p in optimizer.params)]


MIXED = list(itertools.product(MODELS, ["float16", "bfloat16"]))


@pytest.mark.parametrize("case", slow_but([("full", "bfloat16"), ("dropout", "float16")], MIXED), ids="-".join)
def test_mixed_precision_learns_as_on_the_cpu(device, case):
    make, precision = case
    here, there = (learned(to, make, precision=precision_named(precision)) for to in ("cpu", device))
    assert_all_close(there, here, 3e-2)


def test_the_norm_of_dora_has_the_digits_of_float32_also_where_weights_have_16_bits(device):
    """The square of 0.001 is 1e-6, which has four bits in float16."""
    norms = []
    for to in ("cpu", device):
        model = tiny_llama(spread=0.05)
        model = ml.get_peft_model(model, DORA, seed=1).to(to)
        with precision_named("float16").computing(model):
            norms.append([to_host(m.norm(layer.base_layer)) for layer in model.base_model.layers for m in
                          layer.adapters.values()])  # fmt: skip
    assert_all_close(norms[1], norms[0], 1e-3)


OPTIMIZERS = {
    "adamw": partial(AdamW, lr=1e-2, eps=1e-2, betas=(0.7, 0.9), weight_decay=0.2),
    "sgd": partial(SGD, lr=1e-2),
    "sgd with momentum": partial(SGD, lr=1e-2, momentum=0.8),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_moves_the_weights_as_on_the_cpu(device, name):
    here, there = (learned(to, "full", optimizer=OPTIMIZERS[name]) for to in ("cpu", device))
    assert_all_close(there, here)


OPTIONS = {
    "accumulation": {"accumulate": 3},
    "a schedule": {"schedule": cosine(3, 1)},
    "a bound on the norm": {"max_norm": 0.05},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_of_the_loop_acts_as_on_the_cpu(device, name):
    here, there = (learned(to, **OPTIONS[name]) for to in ("cpu", device))
    assert_all_close(there, here)


def test_the_norm_is_that_of_the_cpu_and_shrinks_the_gradients_in_place(device):
    gradients = [np.random.default_rng(i).standard_normal(shape) for i, shape in enumerate([(3, 4), (5,), ()])]
    for dtype, tolerance in ((np.float32, 1e-6), (np.float64, 1e-12)):
        norms = []
        for to in ("cpu", device):
            params = [Parameter(g.shape, data=to_device(np.zeros(g.shape, dtype), to)) for g in gradients]
            for p, g in zip(params, gradients, strict=True):
                p.grad = to_device(np.array(g, dtype), to)
            norms.append([clip_grad_norm_(params, 0.5), *(p.grad for p in params)])
        assert_all_close(norms[1], norms[0], tolerance)


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 4)])
def test_the_mask_of_dropout_is_that_of_the_cpu(device, shape):
    x = np.ones(shape, np.float32)
    here, there = (ops.dropout(Tensor(to_device(x, to)), 0.4, np.random.default_rng(3)).data for to in ("cpu", device))
    assert np.array_equal(to_host(there), here) and (here == 0).any()


@pytest.mark.parametrize("precision", slow_but(["float32"], ["float32", "float16"]))
def test_recomputation_gives_the_bits_of_a_run_without_it(device, precision):
    def bits(recompute):
        model = MODELS["dropout"]().to(device)
        if recompute:
            model.gradient_checkpointing_enable()
        optimizer = AdamW([p for _, p in trained(model)], lr=1e-2)
        rng = np.random.default_rng(4)
        train(model, endless(), optimizer, 2, rng=rng, precision=precision_named(precision))
        return [to_host(p.data) for p in optimizer.params]

    assert_all_same_bits(bits(True), bits(False))


def test_a_loss_in_parts_of_a_trained_head_is_the_whole_loss(device):
    numbers = []
    for chunked in (False, True):
        model = tiny_llama().to(device)
        model.chunked_loss = chunked
        loss = model.loss(random_ids(), random_ids())
        loss.backward()
        numbers.append([loss.data, *(p.grad for p in model.parameters())])
    assert_all_close(numbers[1], numbers[0])


def test_a_student_learns_from_a_teacher_on_the_device_as_on_the_cpu(device):
    teachers = {to: tiny_llama(1).to(to) for to in ("cpu", device)}
    here, there = (learned(to, loss_of=Distillation(teachers[to], mix=0.6)) for to in ("cpu", device))
    assert_all_close(there, here)


def test_an_evaluation_and_the_history_have_the_numbers_of_the_cpu(device):
    histories, valid = [], [labelled(i) for i in (50, 51)]
    for to in ("cpu", device):
        model = MODELS["lora"]().to(to)
        optimizer = AdamW([p for _, p in trained(model)], lr=1e-2, eps=1e-2)
        result = run_training(model, endless(), optimizer, 5, valid=valid, eval_every=2, rng=np.random.default_rng(0))
        histories.append(result.history.as_json() | {"again": evaluate(model, valid)})
    here, there = histories
    for name in ("loss", "lr", "norm", "valid", "again"):
        np.testing.assert_allclose(there[name], here[name], rtol=1e-4)
        assert all(type(x) in (int, float) for x in np.ravel(np.array(there[name], dtype=object)))


@pytest.mark.slow
def test_a_loss_that_is_not_finite_brings_the_last_good_weights_back_on_a_device(device):
    model = MODELS["lora"]().to(device)
    optimizer = AdamW([p for _, p in trained(model)], lr=1e-2)

    def spoil(run):
        if run.step == 25:
            optimizer.params[0].data[...] = np.nan

    with pytest.raises(TrainingError, match="the loss is nan at step 26.*those of step 20, are in the model"):
        run_training(model, endless(), optimizer, 40, callbacks=[spoil])
    assert is_all_on(model, "cuda:0")
    assert all(np.isfinite(to_host(p.data)).all() for p in optimizer.params)


# ---- a run that is saved and goes on

TEXT = np.random.default_rng(7).integers(0, SIZES["vocab_size"], 300)
ADALORA = ml.AdaLoraConfig(init_r=4, target_r=2, total_step=6, tfinal=1, target_modules="all-linear", lora_dropout=0.2)
RUNS = {
    "lora": MODELS["dropout"],
    "adalora": lambda: ml.get_peft_model(tiny_llama(), ADALORA, seed=1),
}


def go_on(name, device, folder, steps, precision="float32", resume=False):
    """A run in `folder` up to `steps` steps; returns what it has learned."""
    model = RUNS[name]().to(device)
    optimizer = AdamW([p for _, p in trained(model)], lr=1e-2, eps=1e-2)
    out = RunFolder(folder, partial(model.save_pretrained, folder), {}) if folder else None
    run_training(
        model, TextBatches(TEXT, 2, 8, np.random.default_rng(3)), optimizer, steps, rng=np.random.default_rng(4),
        valid=[labelled(50)], eval_every=3, out=out, resume=resume, precision=precision, keep_best=True,
    )  # fmt: skip
    assert is_all_on(model, "cpu" if device == "cpu" else "cuda:0")
    return [to_host(p.data) for p in optimizer.params]


KINDS = [("lora", "float32"), ("lora", "float16"), ("adalora", "float32")]


@pytest.mark.parametrize("kind", slow_but([("lora", "float32")], KINDS), ids="-".join)
def test_a_run_that_goes_on_on_the_device_has_the_bits_of_one_without_a_stop(device, kind, tmp_path):
    name, precision = kind
    straight = go_on(name, device, None, 6, precision)
    go_on(name, device, tmp_path, 3, precision)
    resumed = go_on(name, device, tmp_path, 6, precision, resume=True)
    assert_all_same_bits(resumed, straight)


PLACES = list(itertools.product(RUNS, ["cpu", "device"]))


@pytest.mark.parametrize("case", slow_but([("lora", "cpu")], PLACES), ids=" from ".join)
def test_a_run_goes_on_on_another_device_than_it_began(device, case, tmp_path):
    name, begins = case
    places = ("cpu", "device") if begins == "cpu" else ("device", "cpu")
    first, second = (device if place == "device" else "cpu" for place in places)
    straight = go_on(name, "cpu", None, 6)
    go_on(name, first, tmp_path, 3)
    assert all(isinstance(a, np.ndarray) for a in read_tensors(tmp_path / FILE).values())
    assert_all_close(go_on(name, second, tmp_path, 6, resume=True), straight)


def test_a_history_reads_the_device_when_it_is_asked_and_not_before(device):
    history, model = History(every=3), MODELS["lora"]().to(device)
    seen = []
    train(model, itertools.repeat(labelled(0)), AdamW([p for _, p in trained(model)]), 7,
          callbacks=[history, lambda run: seen.append(len(history.loss))])  # fmt: skip
    assert seen == [0, 0, 0, 3, 3, 3, 6, 7]
    assert_close(np.array(history.loss[0]), np.array(float(MODELS["lora"]().loss(*labelled(0)).data)))
