"""Every operation beside PyTorch's, values and gradients, on shapes that hypothesis draws; float64 and float32."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilora import ops
from minilora.autograd import Tensor
from minilora.methods.lora import low_rank_update

pytestmark = pytest.mark.reference
torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F = torch.nn.functional
many = settings(max_examples=25)
side = st.integers(1, 5)
sides = st.lists(st.integers(0, 4), max_size=3).map(tuple)  # leading axes, also none and empty ones
seeds = st.integers(0, 2**16)
dtypes = st.sampled_from([np.float64, np.float32])


def compare(ours, theirs, shapes, seed, dtype=np.float64, scale=1.0):
    """f(*arrays) of both with the same values; the results and the gradients of all inputs must agree."""
    rng = np.random.default_rng(seed)
    arrays = [(scale * rng.standard_normal(shape)).astype(dtype) for shape in shapes]
    mine = [Tensor(a.copy(), requires_grad=True) for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, z = ours(*mine), theirs(*other)
    assert y.shape == tuple(z.shape)
    g = rng.standard_normal(y.shape).astype(dtype)
    y.backward(g)
    z.backward(torch.from_numpy(np.asarray(g)))
    tolerance = 1e-10 if dtype == np.float64 else 3e-5
    pairs = [(y.data, z.detach()), *((m.grad, t.grad) for m, t in zip(mine, other, strict=True))]
    for a, b in pairs:
        b = np.zeros(a.shape) if b is None else b.numpy()
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * (1 + np.abs(b).max(initial=0)))
        assert a.dtype == dtype


@st.composite
def broadcast_pair(draw):
    """Two shapes that broadcast together."""
    full = draw(st.lists(st.integers(0, 4), max_size=4))
    pair = []
    for _ in range(2):
        kept = draw(st.integers(0, len(full)))
        pair.append(tuple(1 if draw(st.booleans()) else n for n in full[len(full) - kept :]))
    return pair


@many
@given(broadcast_pair(), st.sampled_from(["add", "sub", "mul", "div"]), seeds, dtypes)
def test_arithmetic_with_broadcasting(shapes, name, seed, dtype):
    def away(b):  # a divisor that is not near zero
        return b * b + 0.5

    theirs = getattr(torch, name)
    if name == "div":
        compare(lambda a, b: ops.div(a, away(b)), lambda a, b: theirs(a, away(b)), shapes, seed, dtype)
    else:
        compare(getattr(ops, name), theirs, shapes, seed, dtype)


@many
@given(broadcast_pair(), side, side, side, seeds, dtypes)
def test_matmul_with_broadcast_leading_axes(lead, m, k, n, seed, dtype):
    compare(ops.matmul, torch.matmul, [(*lead[0], m, k), (*lead[1], k, n)], seed, dtype)


@many
@given(st.lists(side, min_size=1, max_size=3), st.data(), seeds)
def test_sum_and_mean(shape, data, seed):
    axes = data.draw(st.one_of(st.none(), st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True).map(tuple)))
    keep = axes is not None and data.draw(st.booleans())
    theirs = {"dim": axes, "keepdim": keep} if axes is not None else {}
    compare(lambda a: ops.sum(a, axes, keep), lambda a: a.sum(**theirs), [shape], seed)
    compare(lambda a: ops.mean(a, axes, keep), lambda a: a.mean(**theirs), [shape], seed)


@many
@given(st.permutations(range(3)), st.tuples(side, side, side), seeds)
def test_transpose_reshape_slices_and_concat(axes, shape, seed):
    compare(lambda a: a.transpose(*axes), lambda a: a.permute(*axes), [shape], seed)
    compare(lambda a: a.reshape(-1, shape[2]), lambda a: a.reshape(-1, shape[2]), [shape], seed)
    compare(lambda a: a[-1, ::2, None, 1:], lambda a: a[-1, ::2, None, 1:], [shape], seed)
    other = (shape[0], shape[1] + 1, shape[2])
    compare(lambda a, b: ops.concat([a, b], 1), lambda a, b: torch.cat([a, b], 1), [shape, other], seed)


@many
@given(sides, side, st.sampled_from([0.01, 1.0, 20.0]), seeds, dtypes)
def test_activations(lead, n, scale, seed, dtype):
    shape = [(*lead, n)]
    compare(ops.silu, F.silu, shape, seed, dtype, scale)
    compare(ops.gelu, lambda x: F.gelu(x, approximate="tanh"), shape, seed, dtype, scale)
    compare(ops.swiglu, lambda gate, up: F.silu(gate) * up, shape * 2, seed, dtype, scale)
    compare(ops.softmax, lambda x: F.softmax(x, -1), shape, seed, dtype, scale)


@many
@given(sides, side, side, st.booleans(), seeds, dtypes)
def test_linear(lead, n_in, n_out, bias, seed, dtype):
    shapes = [(*lead, n_in), (n_out, n_in), (n_out,)][: 2 + bias]
    compare(ops.linear, F.linear, shapes, seed, dtype)


@many
@given(side, side, st.lists(st.integers(0, 99), max_size=8), seeds)
def test_embedding(rows, width, ids, seed):
    ids = np.array(ids, dtype=np.int64) % rows
    compare(lambda W: ops.embedding(W, ids), lambda W: F.embedding(torch.from_numpy(ids), W), [(rows, width)], seed)
    rows_once = np.unique(ids)
    compare(lambda x: ops.pick_rows(x, rows_once), lambda x: x[torch.from_numpy(rows_once)], [(rows, width)], seed)


@many
@given(sides, st.integers(2, 6), st.sampled_from([1e-6, 1e-5, 0.1]), seeds, dtypes)
def test_norms(lead, d, eps, seed, dtype):
    shapes = [(*lead, d), (d,), (d,)]
    ours, theirs = lambda *a: ops.layer_norm(*a, eps), lambda x, w, b: F.layer_norm(x, (d,), w, b, eps)
    compare(ours, theirs, shapes, seed, dtype)
    ours, theirs = lambda *a: ops.rms_norm(*a, eps), lambda x, w: F.rms_norm(x, (d,), w, eps)
    compare(ours, theirs, shapes[:2], seed, dtype)


@many
@given(st.integers(1, 6), st.integers(1, 7), st.data(), seeds, dtypes)
def test_cross_entropy_with_ignored_targets(n, classes, data, seed, dtype):
    targets = np.array(data.draw(st.lists(st.integers(0, classes - 1) | st.just(-100), min_size=n, max_size=n)))
    both = (lambda z: ops.cross_entropy(z, targets), lambda z: F.cross_entropy(z, torch.from_numpy(targets)))
    compare(*both, [(n, classes)], seed, dtype, scale=3.0)  # all ignored: nan and a gradient of zeros, on both sides


@many
@given(st.integers(0, 3), side, st.integers(0, 3), side, st.sampled_from([1, 2, 3]), side, st.data(), seeds, dtypes)
def test_grouped_causal_attention_with_earlier_keys_and_padding(B, T, past, K, G, hd, data, seed, dtype):
    S, H = past + T, K * G
    padding = [data.draw(st.integers(0, past)) for _ in range(B)]  # on the left; every query still sees itself
    mask = np.arange(S) >= np.array(padding, dtype=np.int64).reshape(B, 1)
    bias = ops.causal_bias(T, S, mask, dtype)
    seen = torch.from_numpy(mask[:, None, None, :]) & torch.ones(T, S, dtype=torch.bool).tril(past)

    def theirs(q, k, v):
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))  # (B, heads, T, hd)
        k, v = (x.repeat_interleave(G, dim=1) for x in (k, v))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2)

    shapes = [(B, T, H, hd), (B, S, K, hd), (B, S, K, hd)]
    compare(lambda q, k, v: ops.attention(q, k, v, bias), theirs, shapes, seed, dtype)


@many
@given(side, side, side, st.integers(1, 4), seeds)
def test_rotary_embedding(B, T, H, half, seed):
    positions = np.random.default_rng(seed).integers(0, 50, (B, T))
    inv_freq = (1 / 10000 ** (np.arange(half) / half)).astype(np.float32)
    cos, sin = ops.rotary_angles(positions, inv_freq, np.float64)

    def theirs(x):  # as transformers writes it: x cos + rotate_half(x) sin
        c, s = torch.from_numpy(cos), torch.from_numpy(np.concatenate([sin[..., half:]] * 2, axis=-1))
        return x * c + torch.cat([-x[..., half:], x[..., :half]], -1) * s

    compare(lambda x: ops.rotary(x, cos, sin), theirs, [(B, T, H, 2 * half)], seed)


@many
@given(sides, side, side, side, st.floats(0.1, 4), seeds, dtypes)
def test_low_rank_update(lead, n_in, n_out, r, s, seed, dtype):
    shapes = [(*lead, n_in), (n_out, n_in), (r, n_in), (n_out, r)]
    compare(
        lambda x, W, A, B: low_rank_update(ops.linear(x, W), x, A, B, s),
        lambda x, W, A, B: F.linear(x, W) + s * F.linear(F.linear(x, A), B),
        shapes, seed, dtype,
    )  # fmt: skip


def test_dropout_scales_and_masks_its_gradient_as_torch_would_with_the_same_mask():
    x = np.random.default_rng(0).standard_normal((50, 4))
    mine = Tensor(x, requires_grad=True)
    y = ops.dropout(mine, 0.3, np.random.default_rng(1))
    keep = torch.from_numpy(y.data != 0)
    other = torch.tensor(x, requires_grad=True)
    z = other * keep / 0.7
    y.backward(x)
    z.backward(torch.from_numpy(x))
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(mine.grad, other.grad.numpy(), rtol=1e-12)
