"""Forms that save time give what the plain ones give, and save what they are there to save."""

import gc
import importlib
import platform
import subprocess
import sys
import tracemalloc
import weakref

import numpy as np
import pytest
from tiny import random_ids, tiny_llama, with_lora

from minilora import ops
from minilora.autograd import Tensor, no_grad
from minilora.backend import narrow_product
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
    assert gradients
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
        monkeypatch.setattr(attention, "QUERY_BLOCK", queries)
        q, k, v = (Tensor(a, requires_grad=True) for a in arrays)
        o = ops.attention(q, k, v, bias)
        o.backward(g)
        results.append([o.data * (g != 0), q.grad, k.grad, v.grad])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("bias", [None, ops.causal_bias(1, 9, MASK), ops.causal_bias(1, 9, window=4)])
def test_attention_of_one_query_while_decoding_equals_what_is_recorded(bias, rng):
    q, k, v = (Tensor(rng.standard_normal(s)) for s in [(2, 1, 4, 3), (2, 9, 2, 3), (2, 9, 2, 3)])
    recorded = ops.attention(q, k, v, bias)
    with no_grad():
        np.testing.assert_allclose(ops.attention(q, k, v, bias).data, recorded.data, rtol=1e-12)


def test_causal_attention_makes_no_scores_that_the_mask_hides():
    T = 4 * attention.QUERY_BLOCK
    blocks = attention.visible_blocks(ops.causal_bias(T, T), T, T)
    made = sum((t.stop - t.start) * (s.stop - s.start) for t, s, _ in blocks)
    assert made == T * T * 5 // 8
    windowed = attention.visible_blocks(ops.causal_bias(T, T, window=10), T, T)
    assert max(s.stop - s.start for _, s, _ in windowed) == attention.QUERY_BLOCK + 9


@pytest.mark.parametrize("r", [1, 2, 5])
def test_a_narrow_product_is_the_product_of_matrices_to_the_bit(r, rng):
    u, M = rng.standard_normal((7, r)), rng.standard_normal((r, 4))
    assert np.array_equal(narrow_product(u, M), u @ M)


FAULTS = """
import resource, sys
import numpy as np

def faults_of_a_round():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(1 << 20) for _ in range(4)]  # 8 MiB each: 2,048 pages
    del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults_of_a_round()
without = faults_of_a_round()
import minilora.backend  # sets it
faults_of_a_round()
print(without, faults_of_a_round())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_the_memory_of_freed_arrays_is_used_again_without_a_page_fault():
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    without, kept = map(int, done.stdout.split())
    if without == 0:
        pytest.skip("this system keeps freed memory without being asked")
    assert kept < 20 < without


def test_an_activation_that_no_backward_reads_is_gone_after_the_forward(rng):
    W = Tensor(rng.standard_normal((5, 4)))  # frozen: its input is not needed again
    x = Tensor(rng.standard_normal((3, 4)), requires_grad=True)
    first = x + 1.0
    second = ops.linear(first, W)
    third = second + second
    watched = [weakref.ref(t.data) for t in (first, second, third)]
    loss = third.sum()
    del first, second, third
    assert [w() for w in watched] == [None] * 3
    loss.backward()
    np.testing.assert_allclose(x.grad, np.broadcast_to(2 * W.data.sum(axis=0), (3, 4)))


@pytest.mark.parametrize("kind", ["q_proj,v_proj", "all-linear"])
def test_what_a_step_keeps_is_what_its_backward_reads(kind):
    """Bytes kept between forward and backward, against the sum of what the equations need."""
    model = with_lora(tiny_llama(), kind if kind == "all-linear" else kind.split(","))
    config, (B, T) = model.config, (32, 16)
    ids = random_ids(shape=(B, T))
    model.loss(ids, ids).backward()
    gc.collect()
    tracemalloc.start()
    loss = model.loss(ids, ids)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    loss.backward()
    d, m, H, K, hd = (config.hidden_size, config.intermediate_size, config.num_attention_heads,
                      config.num_key_value_heads, config.head_dim)  # fmt: skip
    a_token = 2 * d  # what both norms read
    a_token += 2 * H * hd + 2 * K * hd + H * T  # q, k, v, the output of attention, its scores
    a_token += 2 * m  # gate and up
    a_token += 2 * 3 + d if kind != "all-linear" else 7 * 3 + 2 * d + H * hd + m  # x Aᵀ, and what adapted layers read
    assert kept < 1.06 * 4 * B * T * (config.num_hidden_layers * a_token + 2 * d)
