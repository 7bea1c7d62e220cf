"""Attention and rotary positions beside loops and complex numbers, and the faster forms beside the plain ones."""

import importlib
import math

import numpy as np
import pytest
from engine_cases import assert_close

from minilora import ops
from minilora.autograd import Tensor, no_grad
from minilora.ops import causal_bias


def test_attention_reads_one_key_head_for_a_group_of_query_heads_and_no_key_of_the_future(rng):
    B, T, S, H, K, hd = 2, 3, 5, 4, 2, 3
    q, k, v = (rng.standard_normal(s) for s in [(B, T, H, hd), (B, S, K, hd), (B, S, K, hd)])
    mask = np.array([[False, True, True, True, True], [True] * 5])
    expected = np.zeros((B, T, H, hd))
    for b, t, h in np.ndindex(B, T, H):
        seen = [s for s in range(S) if s <= S - T + t and mask[b, s]]
        weights = np.array([math.exp(q[b, t, h] @ k[b, s, h // (H // K)] / math.sqrt(hd)) for s in seen])
        expected[b, t, h] = sum(w * v[b, s, h // (H // K)] for w, s in zip(weights / weights.sum(), seen, strict=True))
    assert_close(ops.attention(Tensor(q), Tensor(k), Tensor(v), ops.causal_bias(T, S, mask, np.float64)), expected)


def test_a_window_hides_the_keys_before_it():
    seen = ops.causal_bias(3, 5, window=2)[0, 0] == 0
    assert seen.tolist() == [
        [False, True, True, False, False],
        [False, False, True, True, False],
        [False, False, False, True, True],
    ]


def test_rotary_turns_each_pair_as_a_complex_number(rng):
    x = rng.standard_normal((2, 3, 1, 6))
    positions, inv_freq = np.array([[0, 1, 2], [7, 8, 9]]), np.array([1, 0.1, 0.01])
    cos, sin = (np.asarray(a) for a in ops.rotary_angles(positions, inv_freq, np.float64))
    pairs = x[..., :3] + 1j * x[..., 3:]
    turned = pairs * np.exp(1j * positions[:, :, None, None] * inv_freq)
    y = ops.rotary(Tensor(x), cos, sin).data
    np.testing.assert_allclose(y, np.concatenate([turned.real, turned.imag], axis=-1), rtol=1e-5, atol=1e-6)  # float32


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


def test_a_hidden_key_counts_exactly_nothing():
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((1, 3, 2, 4)).astype(np.float32) for _ in range(3))
    bias = ops.causal_bias(3, 3)
    full = ops.attention(Tensor(q), Tensor(k), Tensor(v), bias).data
    k[:, 2], v[:, 2] = 1e6, 1e6  # the future of queries 0 and 1
    changed = ops.attention(Tensor(q), Tensor(k), Tensor(v), bias).data
    assert np.array_equal(full[:, :2], changed[:, :2])
    assert not np.array_equal(full[:, 2], changed[:, 2])


def test_a_query_that_sees_no_key_gives_numbers_and_not_nan():
    mask = np.array([[False, True]])
    q, k, v = (np.ones((1, 2, 1, 2), np.float32) for _ in range(3))
    assert np.isfinite(ops.attention(Tensor(q), Tensor(k), Tensor(v), ops.causal_bias(2, 2, mask)).data).all()


def test_nothing_to_hide_needs_no_bias():
    assert ops.causal_bias(1, 5) is None
    assert ops.causal_bias(2, 2).shape == (1, 1, 2, 2)


def test_a_query_with_a_window_sees_that_many_keys_and_itself_among_them():
    seen = causal_bias(4, 6, window=3)[0, 0] == 0
    np.testing.assert_array_equal(seen, np.array([[1, 1, 1, 0, 0, 0], [0, 1, 1, 1, 0, 0],
                                                  [0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1]], bool))  # fmt: skip


@pytest.mark.parametrize("length, needed", [(3, False), (4, True)])
def test_one_new_token_needs_a_bias_only_when_a_key_has_left_the_window(length, needed):
    assert (causal_bias(1, length, window=3) is not None) == needed
