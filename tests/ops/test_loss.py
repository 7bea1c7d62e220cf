"""Cross-entropy: its value by hand, and the form that makes a block of the logits at a time."""

import math
import tracemalloc

import numpy as np
import pytest
from engine_cases import assert_close
from tiny import random_ids, tiny_llama, with_lora

from minilora import ops
from minilora.autograd import Tensor
from minilora.errors import ShapeError


@pytest.fixture
def x(rng):
    return rng.standard_normal((3, 4))


def test_cross_entropy_is_the_mean_over_the_targets_that_count(x):
    for targets in ([1, 3, 0], [-100, 2, -100], [-100, 2, 1]):
        losses = [-math.log(math.exp(r[t]) / sum(np.exp(r))) for r, t in zip(x, targets, strict=True) if t >= 0]
        assert_close(ops.cross_entropy(Tensor(x), np.array(targets)), sum(losses) / len(losses))


@pytest.mark.parametrize("n", [1, 255, 256, 257, 700])
def test_the_loss_in_row_blocks_equals_the_loss_of_all_logits(n, rng):
    h, W = rng.standard_normal((n, 5)), Tensor(rng.standard_normal((9, 5)))
    targets = np.where(np.arange(n) % 4 == 1, -100, rng.integers(0, 9, n))
    plain, blocks = Tensor(h, requires_grad=True), Tensor(h, requires_grad=True)
    expected = ops.cross_entropy(ops.linear(plain, W), targets)
    loss = ops.linear_cross_entropy(blocks, W, targets)
    expected.backward(np.array(0.3))
    loss.backward(np.array(0.3))
    np.testing.assert_allclose(loss.data, expected.data, rtol=1e-12)
    np.testing.assert_allclose(blocks.grad, plain.grad, rtol=1e-10, atol=1e-15)


def test_the_loss_in_row_blocks_never_holds_all_logits(rng):
    n, V = 4096, 1000
    h, W = Tensor(rng.standard_normal((n, 4)), requires_grad=True), Tensor(rng.standard_normal((V, 4)))
    tracemalloc.start()
    loss = ops.linear_cross_entropy(h, W, rng.integers(0, V, n))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert loss.requires_grad
    assert peak < n * V * 8 / 4


def test_the_loss_in_row_blocks_refuses_a_head_that_learns(rng):
    with pytest.raises(ShapeError, match="frozen"):
        ops.linear_cross_entropy(Tensor(rng.standard_normal((2, 3))), Tensor(np.ones((4, 3)), True), np.zeros(2, int))


def test_a_frozen_head_gives_the_loss_and_gradients_of_the_plain_path(monkeypatch):
    ids = random_ids(shape=(3, 6))

    def step():
        model = with_lora(tiny_llama(dtype=np.float64), "all-linear")
        loss = model.loss(ids, ids)
        loss.backward()
        return loss.data, [p.grad for p in model.parameters() if p.grad is not None]

    loss, gradients = step()
    assert gradients
    monkeypatch.setattr(
        ops, "linear_cross_entropy", lambda h, W, t, ignore: ops.cross_entropy(ops.linear(h, W), t, ignore)
    )
    expected, wanted = step()
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    for a, b in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-14)


def test_the_loss_and_its_gradient_are_nan_and_zero_when_every_target_is_ignored():  # as in PyTorch
    z = Tensor(np.ones((2, 3)), requires_grad=True)
    loss = ops.cross_entropy(z, np.array([-100, -100]))
    loss.backward()
    assert np.isnan(loss.item())
    assert not z.grad.any()


def test_the_loss_of_no_rows_is_nan():
    assert np.isnan(ops.cross_entropy(Tensor(np.ones((0, 3))), np.zeros(0, np.int64)).item())


def test_cross_entropy_does_not_overflow():
    z = Tensor(np.array([[1e4, 0.0], [0.0, -1e4]], np.float32), requires_grad=True)
    loss = ops.cross_entropy(z, np.array([1, 0]))
    loss.backward()
    assert loss.item() == 5000
    assert np.isfinite(z.grad).all()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64])
def test_any_integer_type_may_hold_ids_and_targets(dtype):
    z = Tensor(np.random.default_rng(0).standard_normal((3, 7)))
    a = ops.cross_entropy(z, np.array([1, 2, 6], dtype=dtype))
    assert a.item() == ops.cross_entropy(z, np.array([1, 2, 6])).item()
    assert np.array_equal(ops.embedding(z, np.array([2, 0], dtype=dtype)).data, z.data[[2, 0]])
