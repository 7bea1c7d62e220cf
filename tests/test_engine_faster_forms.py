"""Forms that save time give what the plain ones give, and save what they are there to save."""

import importlib
import tracemalloc

import numpy as np
import pytest
from tiny import random_ids, tiny_llama, with_lora

from minilora import autograd, ops
from minilora.autograd import Tensor
from minilora.backend import _held
from minilora.errors import ShapeError


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
    monkeypatch.setattr(
        ops, "linear_cross_entropy", lambda h, W, t, ignore: ops.cross_entropy(ops.linear(h, W), t, ignore)
    )
    expected, wanted = step()
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    for a, b in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-14)


attention = importlib.import_module("minilora.ops.attention")  # the file, not the function
MASK = np.arange(9) >= np.array([[0], [4]])  # (2, 9): the second row is padded on the left


@pytest.mark.parametrize("bias", [ops.causal_bias(7, 9), ops.causal_bias(7, 9, window=3), ops.causal_bias(7, 9, MASK)])
def test_attention_in_blocks_of_queries_equals_attention_at_once(bias, monkeypatch, rng):
    arrays = [rng.standard_normal(s) for s in [(2, 7, 4, 3), (2, 9, 2, 3), (2, 9, 2, 3)]]
    g = rng.standard_normal((2, 7, 4, 3))
    results = []
    g[1, :2] = 0  # these two queries are padding: they see nothing, and nothing is asked of what they give
    for queries in (64, 2):
        monkeypatch.setattr(attention, "QUERIES", queries)
        q, k, v = (Tensor(a, requires_grad=True) for a in arrays)
        o = ops.attention(q, k, v, bias)
        o.backward(g)
        results.append([o.data * (g != 0), q.grad, k.grad, v.grad])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


def test_causal_attention_makes_no_scores_that_the_mask_hides():
    T = 4 * attention.QUERIES
    blocks = attention.visible(ops.causal_bias(T, T), T, T)
    made = sum((t.stop - t.start) * (s.stop - s.start) for t, s in blocks)
    assert made == T * T * 5 // 8
    windowed = attention.visible(ops.causal_bias(T, T, window=10), T, T)
    assert max(s.stop - s.start for _, s in windowed) == attention.QUERIES + 9


def test_the_array_that_holds_the_heap_never_moves_down():
    addresses = []
    for _ in range(3):
        autograd.hold_heap()
        addresses.append(_held[0].__array_interface__["data"][0])
    assert addresses == sorted(addresses)
    assert len(_held) == 1
