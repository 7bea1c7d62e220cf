"""Mixed precision: values of 16 bits, masters of 32, and a loss scale that steps aside for an overflow."""

import math
from functools import partial

import numpy as np
import pytest
import strict_cupy
from tiny import random_ids, tiny_llama, with_lora
from training_cases import endless, fresh, labelled

import minilora as ml
from minilora import autograd, ops
from minilora.autograd import Tensor, rounded_by
from minilora.backend import product, to_host
from minilora.errors import TrainingError, UnknownNameError
from minilora.files.shipped import shipped
from minilora.nn import Parameter
from minilora.rounding import round_to
from minilora.training.loop import evaluate, train
from minilora.training.optim import SGD
from minilora.training.precision import Float16, Precision, precision_named

ROUNDINGS = {kind: partial(round_to, kind=kind) for kind in ("float16", "bfloat16")}
to_float16, to_bfloat16 = ROUNDINGS.values()


@pytest.mark.parametrize("name", ROUNDINGS)
@pytest.mark.parametrize("make", [tiny_llama, lambda: with_lora(tiny_llama(), "all-linear", dropout=0.1)])
def test_every_activation_and_gradient_of_a_step_is_a_number_of_16_bits(make, name, monkeypatch):
    model, seen = make().train(), []
    init, arrive = Tensor.__init__, autograd._add_gradient

    def noting_init(self, data, *args, **kwargs):
        seen.append(np.array(data))  # a copy: sums are added up in place
        init(self, data, *args, **kwargs)

    def noting_add_gradient(arrived, owned, key, pg, g):
        seen.append(np.array(pg.values if isinstance(pg, autograd.SlicedGradient) else pg))
        arrive(arrived, owned, key, pg, g)

    monkeypatch.setattr(Tensor, "__init__", noting_init)
    monkeypatch.setattr(autograd, "_add_gradient", noting_add_gradient)
    with precision_named(name).computing(model):
        model.loss(random_ids(), random_ids(), rng=np.random.default_rng(0)).backward()
    several = [a for a in seen if a.shape]
    assert len(several) > 60
    assert all(np.array_equal(a, ROUNDINGS[name](a)) and a.dtype == np.float32 for a in several)
    assert all(p.grad.dtype == np.float32 for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", ROUNDINGS)
def test_a_product_is_that_of_rounded_numbers_summed_in_float32_and_rounded_once(name):
    rng, rounded = np.random.default_rng(0), ROUNDINGS[name]
    x, W = (rounded(rng.standard_normal(shape).astype(np.float32)) for shape in ((4, 50), (6, 50)))
    with rounded_by(rounded):
        y = ops.linear(Tensor(x), Tensor(W))
    assert np.array_equal(y.data, rounded(x @ W.T)) and not np.array_equal(y.data, x @ W.T)


@pytest.mark.parametrize("name", ["float32", *ROUNDINGS])
def test_the_weights_are_the_same_float32_arrays_after_a_forward_and_after_an_error(name):
    model = with_lora(tiny_llama())
    before = {path: p.data for path, p in model.named_parameters()}
    with pytest.raises(RuntimeError), precision_named(name).computing(model):
        model(random_ids())
        raise RuntimeError
    assert all(p.data is before[path] for path, p in model.named_parameters())


def test_small_updates_vanish_in_bfloat16_weights_and_survive_in_float32_masters():
    """A step of 0.001 is less than half of what bfloat16 can add to 1, which is 0.0078: a thousand of them are lost."""
    weight = Parameter((1,), data=np.ones(1, np.float32))
    optimizer = SGD([weight], lr=1e-3)

    def steps(after_each):
        weight.data = np.ones(1, np.float32)
        for _ in range(1000):
            weight.grad = np.full(1, -1.0, np.float32)
            optimizer.step()
            after_each()
        return weight.data[0]

    def round_the_weight():
        weight.data[...] = to_bfloat16(weight.data)

    assert steps(round_the_weight) == 1.0
    assert steps(lambda: None) == pytest.approx(2.0, abs=1e-4)


@pytest.mark.slow
def test_training_learns_less_when_the_weights_themselves_are_bfloat16():
    def loss(pure):
        model, optimizer = fresh()
        optimizer.param_groups[0]["lr"] = 2e-4

        def round_weights(run):
            for p in optimizer.params:
                p.data[...] = to_bfloat16(p.data)

        batches, precision = iter([labelled(0)] * 60), precision_named("bfloat16")
        train(model, batches, optimizer, 60, precision=precision, callbacks=[round_weights] if pure else [])
        return evaluate(model, [labelled(0)])

    model, _ = fresh()
    start = evaluate(model, [labelled(0)])
    assert start - loss(pure=False) > 1.5 * (start - loss(pure=True)) > 0


@pytest.mark.parametrize("name", ROUNDINGS)
def test_a_run_in_16_bits_reaches_the_loss_of_float32_within_two_percent(name):
    def loss(precision):
        model, optimizer = fresh()
        train(model, iter([labelled(0)] * 99), optimizer, 40, precision=precision_named(precision))
        return evaluate(model, [labelled(0)])

    assert loss(name) == pytest.approx(loss("float32"), rel=0.02, abs=0.02)


def test_gradients_that_float16_rounds_to_zero_arrive_with_a_loss_scale():
    def gradient(scale):
        w = Tensor(np.ones((1, 4), np.float32), requires_grad=True)
        with rounded_by(to_float16):
            loss = (ops.linear(Tensor(np.full((1, 4), 1e-4, np.float32)), w) * 1e-4).sum()
            loss.backward(np.asarray(scale, np.float32))
        return w.grad / scale

    assert not gradient(1.0).any()
    np.testing.assert_allclose(gradient(2.0**12), 1e-8, rtol=1e-3)


# ---- the loss scale


def with_infinity_at(model, calls):
    """The model's loss, whose backward in the calls with these numbers makes one gradient infinite."""
    real, made = model.loss, []

    def loss(*args, **fields):
        made.append(1)
        value = real(*args, **fields)
        if len(made) in calls:
            return value * np.float32(np.inf)
        return value

    model.loss = loss


def weights(model):
    return [p.data.copy() for p in model.parameters()]


def test_a_step_that_overflows_moves_neither_weights_moments_step_count_nor_schedule():
    def trained(calls, skipped):
        model, optimizer = fresh()
        with_infinity_at(model, calls)
        precision, factors = Float16(), []
        precision.scale = 2.0**10 * 2 ** len(calls)  # so that the good steps of both runs have one scale
        batches = endless()
        order = [next(batches) for _ in range(9)]
        for i in skipped:
            order.insert(i, labelled(77))
        run = train(model, iter(order), optimizer, 6, schedule=lambda step: step / 6, precision=precision,
                    callbacks=[lambda run: factors.append((run.step, run.factor))])  # fmt: skip
        return weights(model), optimizer, run, factors, precision

    plain, optimizer, run, factors, _ = trained((), ())
    skipping, same, other, again, precision = trained((1, 2), (0, 0))
    assert precision.scale == 2.0**10 and precision.good_steps == 6
    assert all(np.array_equal(a, b) for a, b in zip(plain, skipping, strict=True))
    assert optimizer.steps == same.steps and set(same.steps) == {6}
    for name, array in optimizer.state_dict().items():
        assert np.array_equal(array, same.state_dict()[name]), name
    assert (run.step, factors) == (other.step, again)


def test_the_gradients_are_unscaled_before_they_are_clipped():
    """A norm that is measured without the scale, and a bound far above it, change nothing."""
    model, optimizer = fresh()
    norms, same = [], iter([labelled(0)] * 20)
    train(model, same, optimizer, 2, precision=Float16(), callbacks=[lambda run: norms.append(run.norm)])
    model, optimizer = fresh()
    plain = []
    train(model, same, optimizer, 2, callbacks=[lambda run: plain.append(run.norm)])
    np.testing.assert_allclose(norms[1:], plain[1:], rtol=0.02)


def parameter_with(gradient):
    p = Parameter((2,), data=np.zeros(2, np.float32))
    p.grad = np.array(gradient, np.float32)
    return p


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_the_scale_starts_at_65536_and_is_halved_when_a_gradient_is_not_finite(bad):
    precision = Float16()
    good, wrong = parameter_with([65536.0, 3.0]), parameter_with([1.0, bad])
    assert precision.scale == 2**16 and not precision.unscale_([good, wrong])
    assert precision.scale == 2**15 and good.grad[0] == 65536.0
    assert precision.unscale_([good]) and good.grad[0] == 2.0


def test_the_scale_doubles_after_2000_good_steps_in_a_row():
    precision = Float16()
    for _ in range(1999):
        precision.unscale_([parameter_with([1.0, 1.0])])
    precision.unscale_([parameter_with([np.inf, 1.0])])
    for _ in range(1999):
        precision.unscale_([parameter_with([1.0, 1.0])])
    assert precision.scale == 2**15
    precision.unscale_([parameter_with([1.0, 1.0])])
    assert (precision.scale, precision.good_steps) == (2**16, 0)


@pytest.mark.parametrize(
    "wrong",
    [{"scale": x} for x in (math.nan, math.inf, 0, -1.0, "65536")] + [{"good_steps": x} for x in (-1, 2000, 1.5)],
)
def test_a_saved_scale_with_which_no_step_would_succeed_is_refused(wrong):
    precision = precision_named("float16")
    with pytest.raises((TypeError, ValueError)):
        precision.restore(precision.state() | wrong)


def test_a_run_whose_numbers_never_fit_ends_in_one_line():
    model, optimizer = fresh()
    with_infinity_at(model, range(99))
    with pytest.raises(TrainingError, match="float16 cannot hold them; use bfloat16 or float32"):
        train(model, endless(), optimizer, 2, precision=Float16())


def test_float32_and_bfloat16_have_no_scale_and_an_unknown_precision_is_refused():
    for name in ("float32", "bfloat16"):
        assert precision_named(name).scale == 1 and precision_named(name).state() == {}
    with pytest.raises(UnknownNameError, match="no precision 'fp8'; there are: float32, float16, bfloat16"):
        precision_named("fp8")


def test_float32_is_the_training_without_a_precision_bit_for_bit():
    def trained(**options):
        model, optimizer = fresh(dropout=0.2)
        train(model, endless(), optimizer, 3, rng=np.random.default_rng(0), **options)
        return weights(model)

    assert all(np.array_equal(a, b) for a, b in zip(trained(), trained(precision=Precision()), strict=True))


@pytest.mark.parametrize("name", ROUNDINGS)
def test_checkpointing_gives_the_same_bits_in_16_bits_too(name):
    def trained(checkpointing):
        model, optimizer = fresh(dropout=0.2)
        if checkpointing:
            model.gradient_checkpointing_enable()
        train(model, endless(), optimizer, 3, rng=np.random.default_rng(0), precision=precision_named(name))
        return weights(model)

    assert all(np.array_equal(a, b) for a, b in zip(trained(True), trained(False), strict=True))


def quantized():
    config = ml.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    return with_lora(ml.load_pretrained(shipped("base"), quantization_config=config).train(), "all-linear")


@pytest.mark.parametrize("name", ROUNDINGS)
def test_a_base_in_4_bits_stays_as_it_is_stored_and_its_adapter_learns(name):
    model, ids = quantized(), random_ids()
    before = {path: p.data for path, p in model.named_parameters()}
    with precision_named(name).computing(model):
        stored = {path: p.data for path, p in model.named_parameters() if not hasattr(p.data, "astype")}
        loss = model.loss(ids, ids)
        loss.backward()
    assert stored and all(data is before[path] for path, data in stored.items())
    assert loss.item() == pytest.approx(model.loss(ids, ids).item(), rel=0.01)
    assert all(p.grad.any() for _, p in model.named_parameters() if p.requires_grad)


def test_checkpointing_on_a_base_in_4_bits_gives_the_same_bits():
    gradients = []
    for checkpointing in (False, True):
        model = quantized()
        if checkpointing:
            model.gradient_checkpointing_enable()
        model.loss(random_ids(), random_ids()).backward()
        gradients.append([p.grad for p in model.parameters() if p.requires_grad])
    assert all(np.array_equal(a, b) for a, b in zip(*gradients, strict=True))


# ---- on a GPU, by its stand-in


def test_a_product_with_a_float16_matrix_on_a_gpu_is_one_of_float16_numbers():
    x = strict_cupy.asarray(np.ones((2, 3), np.float32))
    W = strict_cupy.asarray(np.full((3, 4), 0.1, np.float16))
    y = product(x, W)
    assert y.dtype == np.float32 and np.array_equal(to_host(y), to_float16(to_host(y)))
