"""AdamW and SGD: torch's arithmetic, in place, in the parameters' own precision."""

import numpy as np
import pytest
import strict_cupy
from hypothesis import given
from hypothesis import strategies as st
from optim_cases import SHAPES, gradients, parameters

import minilora as ml
from minilora.autograd import Tensor
from minilora.errors import ConfigError, FormatError
from minilora.nn import Parameter
from minilora.training.optim import SGD, AdamW, clip_grad_norm_, constant, cosine, linear_decay


def take_steps(optimizer, ours, first, last, dtype=np.float64, factor=lambda step: 1.0):
    for step in range(first, last):
        for p, g in zip(ours, gradients(step, dtype), strict=True):
            p.grad = g
        optimizer.step(factor(step))


def by_the_equations(p, gs, lr, beta1, beta2, eps, decay):
    """AdamW as the paper writes it (Loshchilov and Hutter 2019, algorithm 2), with new arrays at every line."""
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(gs, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        p = p - lr * decay * p - lr * m_hat / (np.sqrt(v_hat) + eps)
    return p


@pytest.mark.parametrize(
    "settings",
    [{}, {"lr": 3e-2, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3}, {"weight_decay": 0.0, "eps": 0.5}],
    ids=str,
)
def test_adamw_computes_its_equations(settings):
    ours = parameters()
    before = [p.data.copy() for p in ours]
    take_steps(AdamW(ours, **settings), ours, 0, 5)
    usual = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 1e-2} | settings  # torch's defaults
    for i, (p, start) in enumerate(zip(ours, before, strict=True)):
        gs = [gradients(step)[i] for step in range(5)]
        wanted = by_the_equations(start, gs, usual["lr"], *usual["betas"], usual["eps"], usual["weight_decay"])
        np.testing.assert_allclose(p.data, wanted, rtol=1e-12)


@pytest.mark.parametrize("settings", [{}, {"lr": 0.5, "momentum": 0.9}], ids=str)
def test_sgd_subtracts_the_rate_times_the_gradients_that_momentum_adds_up(settings):
    ours = parameters()
    before = [p.data.copy() for p in ours]
    take_steps(SGD(ours, **settings), ours, 0, 3)
    lr, momentum = settings.get("lr", 1e-3), settings.get("momentum", 0.0)
    for i, (p, start) in enumerate(zip(ours, before, strict=True)):
        g1, g2, g3 = (gradients(step)[i] for step in range(3))
        total = g1 * (1 + momentum + momentum**2) + g2 * (1 + momentum) + g3
        np.testing.assert_allclose(p.data, start - lr * total, rtol=1e-12)


def test_the_first_step_moves_every_value_by_the_learning_rate_whatever_the_gradients_size():
    (p,) = [Parameter((4,), data=np.zeros(4))]
    p.grad = np.array([1e-3, -5.0, 1e4, -1e-2])
    AdamW([p], lr=0.25, weight_decay=0.0).step()
    np.testing.assert_allclose(p.data, [-0.25, 0.25, -0.25, 0.25], rtol=1e-4)


@pytest.mark.parametrize("make", [AdamW, lambda p: SGD(p, momentum=0.9)], ids=["AdamW", "SGD"])
def test_float32_stays_float32_even_when_the_rate_is_a_numpy_float64(make):
    ours = parameters(np.float32)
    optimizer = make(ours)
    optimizer.param_groups[0]["lr"] = np.float64(1e-3)
    take_steps(optimizer, ours, 0, 3, np.float32, factor=lambda step: np.float64(0.5))
    kept = [a for state in optimizer.state for a in state.values()]
    assert {a.dtype for a in kept} | {p.data.dtype for p in ours} == {np.dtype(np.float32)}


def test_a_step_changes_the_arrays_in_place_and_leaves_the_gradients_alone():
    ours = parameters()
    arrays, before = [p.data for p in ours], gradients(0)
    take_steps(AdamW(ours), ours, 0, 1)
    assert all(p.data is a for p, a in zip(ours, arrays, strict=True))
    assert all(np.array_equal(p.grad, g) for p, g in zip(ours, before, strict=True))


def test_a_parameter_without_a_gradient_is_left_alone():
    ours = parameters()
    before = ours[1].data.copy()
    optimizer = AdamW(ours, weight_decay=0.5)
    ours[0].grad = np.ones(SHAPES[0])
    optimizer.step()
    assert np.array_equal(ours[1].data, before)
    assert optimizer.steps == [1, 0, 0]


@pytest.mark.parametrize("make", [AdamW, lambda p: SGD(p, momentum=0.9)], ids=["AdamW", "SGD"])
@given(at=st.integers(0, 8))
def test_an_optimizer_restored_from_its_state_goes_on_with_the_same_bits(make, at):
    straight = parameters()
    take_steps(make(straight), straight, 0, 8)
    ours = parameters()
    first = make(ours)
    take_steps(first, ours, 0, at)
    second = make(ours)
    second.load_state_dict(first.state_dict())
    take_steps(second, ours, at, 8)
    assert all(np.array_equal(a.data, b.data) for a, b in zip(ours, straight, strict=True))


def test_the_state_is_plain_arrays_that_later_steps_do_not_change():
    ours = parameters()
    optimizer = AdamW(ours)
    take_steps(optimizer, ours, 0, 2)
    state = optimizer.state_dict()
    copy = {name: a.copy() for name, a in state.items()}
    take_steps(optimizer, ours, 2, 4)
    assert set(state) == {f"{i}.{n}" for i in range(3) for n in ("step", "exp_avg", "exp_avg_sq")}
    assert all(np.array_equal(state[n], copy[n]) for n in state)


def test_a_state_of_other_shapes_or_names_is_refused():
    ours = parameters()
    optimizer = AdamW(ours)
    take_steps(optimizer, ours, 0, 1)
    state = optimizer.state_dict()
    with pytest.raises(FormatError, match="another run"):
        AdamW(ours[:2]).load_state_dict(state)
    with pytest.raises(FormatError, match="another run"):
        SGD(ours).load_state_dict(state)
    with pytest.raises(FormatError, match=r"1\.exp_avg is \(5,\)"):
        AdamW(ours).load_state_dict({**state, "1.exp_avg": np.zeros(5)})
    with pytest.raises(FormatError, match="another run"):
        AdamW(ours).load_state_dict({**state, "surprise": np.zeros(5)})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: AdamW([]), "no parameters"),
        (lambda p: AdamW([*p, p[0]]), "twice"),
        (lambda p: AdamW(p, lr=-1), "lr = -1"),
        (lambda p: AdamW(p, lr=float("nan")), "lr = nan"),
        (lambda p: AdamW(p, betas=(0.9, 1.0)), "betas"),
        (lambda p: AdamW([{"params": p, "learning_rate": 1}]), "learning_rate.*lr"),
        (lambda p: SGD(p, momentum=-0.1), "momentum"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(make, says):
    with pytest.raises(ConfigError, match=says):
        make(parameters())


def test_adamw_is_a_public_name():
    assert ml.AdamW is AdamW


# ---- clipping


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_clipping_bounds_the_norm_of_all_gradients_together_and_keeps_their_direction(scale, bound):
    ours = parameters()
    for p, g in zip(ours, gradients(3), strict=True):
        p.grad = g * scale
    before = np.concatenate([p.grad.ravel() for p in ours])
    norm = clip_grad_norm_(ours, bound)
    after = np.concatenate([p.grad.ravel() for p in ours])
    assert float(norm) == pytest.approx(np.linalg.norm(before), rel=1e-12)
    assert np.linalg.norm(after) <= bound * (1 + 1e-12)
    np.testing.assert_allclose(after, before * min(1, bound / (np.linalg.norm(before) + 1e-6)), rtol=1e-12)


def test_clipping_keeps_float32_and_skips_what_has_no_gradient():
    ours = parameters(np.float32)
    ours[0].grad = np.full(SHAPES[0], 3, dtype=np.float32)
    norm = clip_grad_norm_(ours, 1.0)
    assert ours[0].grad.dtype == norm.dtype == np.float32
    assert float(norm) == pytest.approx(3 * 15**0.5)


# ---- schedules


@given(st.integers(2, 500), st.data())
def test_every_schedule_rises_in_a_line_during_warm_up_and_never_again(steps, data):
    warmup = data.draw(st.integers(0, steps - 1))
    for schedule in (constant(warmup), linear_decay(steps, warmup), cosine(steps, warmup)):
        factors = [schedule(step) for step in range(1, steps + 1)]
        assert factors[:warmup] == [step / warmup for step in range(1, warmup + 1)]
        assert factors[warmup] == 1
        assert all(a >= b for a, b in zip(factors[warmup:], factors[warmup + 1 :], strict=False))
        assert all(0 < f <= 1 for f in factors)


def test_linear_and_cosine_reach_zero_just_after_the_last_step():
    assert linear_decay(100, 10)(101) == 0
    assert cosine(100, 10)(101) == pytest.approx(0, abs=1e-12)
    assert linear_decay(110, 10)(61) == pytest.approx(0.5)
    assert cosine(110, 10)(61) == pytest.approx(0.5)
    assert constant(10)(10**6) == 1


def test_the_fused_update_of_adamw_is_the_plain_one_to_the_last_digits(rng):
    start, gradients = rng.standard_normal((3, 4)), rng.standard_normal((5, 3, 4))
    here, there = Tensor(start.copy(), requires_grad=True), Tensor(strict_cupy.asarray(start), requires_grad=True)
    own, other = (AdamW([p], lr=0.1, betas=(0.7, 0.8), eps=1e-3, weight_decay=0.3) for p in (here, there))
    for g in gradients:
        here.grad, there.grad = g, strict_cupy.asarray(g)
        own.step(), other.step()
        np.testing.assert_allclose(there.data.get(), here.data, rtol=1e-12)
        for name, state in own.state[0].items():
            np.testing.assert_allclose(other.state[0][name].get(), state, rtol=1e-12)
