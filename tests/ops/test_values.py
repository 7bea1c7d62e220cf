"""What each operation computes, beside the equation written as plainly as it can be: loops and complex numbers."""

import math

import numpy as np
import pytest

from minilora import ops
from minilora.autograd import Tensor
from minilora.methods.lora import low_rank_update


@pytest.fixture
def x(rng):
    return rng.standard_normal((3, 4))


def close(tensor, expected):
    np.testing.assert_allclose(tensor.data, expected, rtol=1e-12, atol=1e-14)


def test_activations(x):
    sigmoid = 1 / (1 + np.exp(-x))
    close(ops.silu(Tensor(x)), x * sigmoid)
    close(ops.swiglu(Tensor(x), Tensor(x + 1)), x * sigmoid * (x + 1))
    close(ops.gelu(Tensor(x)), 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))
    close(ops.softmax(Tensor(x)), [np.exp(row) / sum(math.exp(v) for v in row) for row in x])


def test_cross_entropy_is_the_mean_over_the_targets_that_count(x):
    for targets in ([1, 3, 0], [-100, 2, -100], [-100, 2, 1]):
        losses = [-math.log(math.exp(r[t]) / sum(np.exp(r))) for r, t in zip(x, targets, strict=True) if t >= 0]
        close(ops.cross_entropy(Tensor(x), np.array(targets)), sum(losses) / len(losses))


def test_norms(x, rng):
    w, b = rng.standard_normal((2, 4))
    mean, var = x.mean(-1, keepdims=True), ((x - x.mean(-1, keepdims=True)) ** 2).mean(-1, keepdims=True)
    close(ops.layer_norm(Tensor(x), Tensor(w), Tensor(b), 0.1), w * (x - mean) / np.sqrt(var + 0.1) + b)
    close(ops.rms_norm(Tensor(x), Tensor(w), 0.1), w * x / np.sqrt((x * x).mean(-1, keepdims=True) + 0.1))


def test_attention_reads_one_key_head_for_a_group_of_query_heads_and_no_key_of_the_future(rng):
    B, T, S, H, K, hd = 2, 3, 5, 4, 2, 3
    q, k, v = (rng.standard_normal(s) for s in [(B, T, H, hd), (B, S, K, hd), (B, S, K, hd)])
    mask = np.array([[False, True, True, True, True], [True] * 5])
    expected = np.zeros((B, T, H, hd))
    for b, t, h in np.ndindex(B, T, H):
        seen = [s for s in range(S) if s <= S - T + t and mask[b, s]]
        weights = np.array([math.exp(q[b, t, h] @ k[b, s, h // (H // K)] / math.sqrt(hd)) for s in seen])
        expected[b, t, h] = sum(w * v[b, s, h // (H // K)] for w, s in zip(weights / weights.sum(), seen, strict=True))
    close(ops.attention(Tensor(q), Tensor(k), Tensor(v), ops.causal_bias(T, S, mask, np.float64)), expected)


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


def test_products(x, rng):
    W, b, A, B = (rng.standard_normal(s) for s in [(5, 4), (5,), (2, 4), (5, 2)])
    close(ops.linear(Tensor(x), Tensor(W), Tensor(b)), [[row @ w + c for w, c in zip(W, b, strict=True)] for row in x])
    close(ops.embedding(Tensor(W), np.array([[4, 0], [0, 2]])), [[W[4], W[0]], [W[0], W[2]]])
    y = ops.linear(Tensor(x), Tensor(W))
    close(low_rank_update(y, Tensor(x), Tensor(A), Tensor(B), 0.7), x @ (W + 0.7 * B @ A).T)


def test_picking_joining_and_reducing(x):
    close(ops.pick_rows(Tensor(x), np.array([2, 0])), [x[2], x[0]])
    close(ops.concat([Tensor(x), Tensor(x[:1])]), [*x, x[0]])
    close(ops.mean(Tensor(x), axis=0, keepdims=True), [[sum(column) / 3 for column in x.T]])
    close(ops.sum(Tensor(x)), sum(x.ravel()))
    close(ops.div(Tensor(x), 2.0) - Tensor(x) * 0.5 + Tensor(x).T.T.reshape(3, 4)[:, ::1], x)
