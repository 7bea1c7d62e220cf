"""Every differentiable operation on rectangular, broadcast, size-1 and zero-length shapes: one table for the gradient
checks, the contract of a backward, float32, the strict stand-in for CuPy and a real GPU."""

from typing import NamedTuple

import numpy as np

from minilora import ops
from minilora.autograd import Tensor
from minilora.backend import like
from minilora.methods.base import Place
from minilora.methods.lora import EmbeddingLora, LoraConfig, low_rank_update
from minilora.models.cache import KVCache
from minilora.models.context import Context


def assert_close(tensor, expected):
    np.testing.assert_allclose(tensor.data, expected, rtol=1e-12, atol=1e-14)


class Case(NamedTuple):
    name: str  # the operation, then what is special
    f: object  # takes one Tensor per array, returns a Tensor; its constants are host arrays, as in the models
    arrays: tuple  # float64, on the host

    def __str__(self):
        return f"{self.name} {' '.join(str(a.shape).replace(' ', '') for a in self.arrays)}"


CASES = []
_rng = np.random.default_rng(7)


def case(name, f, *shapes, away_from_zero=(), scale=1.0):
    arrays = [scale * _rng.standard_normal(shape) for shape in shapes]
    for i in away_from_zero:
        arrays[i] = arrays[i] + np.copysign(0.5, arrays[i])
    CASES.append(Case(name, f, tuple(arrays)))


# ---- arithmetic, with broadcasting

PAIRS = [
    ((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 4), (3, 1)), ((2, 1, 4), (3, 1)), ((1, 1), (3, 4)), ((), (2, 3)),
    ((1,), (1,)), ((0, 4), (4,)), ((0, 4), (1, 4)), ((1, 4), (0, 4)), ((2, 0), (2, 1)),
]  # fmt: skip
for shapes in PAIRS:
    case("add", ops.add, *shapes)
    case("sub", ops.sub, *shapes)
    case("mul", ops.mul, *shapes)
    case("div", ops.div, *shapes, away_from_zero=(1,))
case("add number", lambda a: 2.5 + a, (2, 3))
case("sub number", lambda a: 2.5 - a, (2, 3))
case("mul number", lambda a: a * 3, (2, 3))
case("div number", lambda a: 2 / a, (2, 3), away_from_zero=(0,))
case("mul itself", lambda a: a * a, (2, 3))
case("neg sub", lambda a: -a, (2, 3))

for shapes in [
    ((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((3, 4), (2, 4, 5)), ((2, 1, 3, 4), (5, 4, 2)), ((1, 3, 4), (2, 4, 5)),
    ((1, 1), (1, 1)), ((0, 3, 4), (4, 5)), ((2, 0, 4), (2, 4, 3)), ((0, 4), (4, 5)),
]:  # fmt: skip
    case("matmul", ops.matmul, *shapes)
case("matmul itself", lambda a: a @ a.T, (2, 3))

# ---- reductions and shapes

for axis, keepdims, shape in [
    (None, False, (3, 4)), (None, True, (3, 4)), (0, False, (3, 4)), (-1, False, (3, 4)), (-1, True, (3, 4)),
    ((0, 2), False, (2, 3, 4)), ((0, 2), True, (2, 3, 4)), (None, False, ()), (0, False, (1,)), (-1, False, (0, 3)),
]:  # fmt: skip
    case(f"sum {axis} {keepdims}", lambda a, o=(axis, keepdims): ops.sum(a, *o), shape)
    case(f"mean {axis} {keepdims}", lambda a, o=(axis, keepdims): ops.mean(a, *o), shape)
case("sum of nothing", lambda a: ops.sum(a, axis=0), (0, 3))
case("reshape", lambda a: a.reshape(2, 6), (3, 4))
case("reshape -1", lambda a: a.reshape((-1, 2)), (3, 4))
case("reshape", lambda a: a.reshape(0, 2, 2), (0, 4))
case("reshape", lambda a: a.reshape(1, 1), ())
case("transpose", lambda a: a.T, (2, 3, 4))
case("transpose", lambda a: a.transpose(2, 0, 1), (2, 3, 4))
case("transpose", lambda a: a.transpose((0, -1, 1)), (2, 3, 4))
case("transpose", lambda a: a.transpose(1, 0), (0, 4))
for text, key in {
    "1": 1, "-1": -1, "1:": np.s_[1:], "::2": np.s_[::2], "::-1": np.s_[::-1], ":,-1": np.s_[:, -1],
    "...,None,1:3": np.s_[..., None, 1:3], "1,2": (1, 2), "2:2": np.s_[2:2],
}.items():  # fmt: skip
    case(f"getitem [{text}]", lambda a, key=key: a[key], (3, 4))
case("getitem [:,0]", lambda a: a[:, 0], (0, 4))
case("pick_rows", lambda a: ops.pick_rows(a, np.array([3, 0, 2])), (4, 3))
case("pick_rows none", lambda a: ops.pick_rows(a, np.array([], dtype=np.int64)), (4, 3))
case("concat", lambda a, b, c: ops.concat([a, b, c]), (2, 3), (1, 3), (4, 3))
case("concat -1", lambda a, b: ops.concat([a, b], axis=-1), (2, 1), (2, 3))
case("concat 1", lambda a, b: ops.concat([a, b], axis=1), (2, 0, 4), (2, 3, 4))
case("concat itself", lambda a: ops.concat([a, a]), (2, 3))

# ---- element by element

for shape in [(3, 4), (1, 1), (0, 4), ()]:
    case("silu", ops.silu, shape)
    case("gelu", ops.gelu, shape)
    case("swiglu", ops.swiglu, shape, shape)
    case("dropout", lambda a: ops.dropout(a, 0.4, np.random.default_rng(5)), shape)
case("silu far out", ops.silu, (3, 4), scale=10)
case("gelu far out", ops.gelu, (3, 4), scale=2)
case("swiglu far out", ops.swiglu, (3, 4), (3, 4), scale=10)
for shape in [(3, 5), (2, 3, 4), (3, 1), (0, 5), (4,)]:
    case("softmax", ops.softmax, shape)
case("softcap", lambda x: ops.softcap(x, 0.7), (3, 5))
case("softmax far out", ops.softmax, (3, 5), scale=30)

# ---- products with weights


def linear_of_gpt2(x, W, b):
    return ops.linear(x, W, b, fan_in_fan_out=True)


for shapes in [((2, 3, 4), (5, 4)), ((3, 4), (5, 4)), ((4,), (5, 4)), ((1, 1), (1, 1)), ((0, 3, 4), (5, 4))]:
    case("linear", ops.linear, *shapes)
    case("linear bias", ops.linear, *shapes, shapes[1][:1])
    case("linear fan_in_fan_out", linear_of_gpt2, shapes[0], shapes[1][::-1], shapes[1][:1])
case("embedding", lambda W: ops.embedding(W, np.array([[1, 4, 1], [0, 1, 4]])), (6, 3))
case("embedding one row", lambda W: ops.embedding(W, np.zeros((2, 2), dtype=np.int64)), (1, 3))
case("embedding no ids", lambda W: ops.embedding(W, np.zeros((0, 4), dtype=np.int64)), (6, 3))

# ---- norms, losses

for shape in [(2, 3, 5), (4, 5), (1, 5), (5,), (3, 1), (0, 5)]:
    case("layer_norm", ops.layer_norm, shape, shape[-1:], shape[-1:])
    case("rms_norm", ops.rms_norm, shape, shape[-1:], away_from_zero=(0,) if shape[-1] == 1 else ())
case("layer_norm far out", ops.layer_norm, (3, 5), (5,), (5,), scale=100)
case("rms_norm near zero", lambda x, w: ops.rms_norm(x, w, eps=0.1), (3, 5), (5,), scale=0.01)

IGNORING = np.array([[3, -100, 0], [6, 2, -100]])
case("cross_entropy", lambda z: ops.cross_entropy(z, np.array([3, 0, 6])), (3, 7))
case("cross_entropy ignoring", lambda z: ops.cross_entropy(z, IGNORING), (2, 3, 7))
case("cross_entropy ignoring 2", lambda z: ops.cross_entropy(z, np.array([2, 1, 2]), ignore_index=2), (3, 4))
case("cross_entropy one target", lambda z: ops.cross_entropy(z, np.array([-100, 3])), (2, 7))
case("cross_entropy one class", lambda z: ops.cross_entropy(z, np.array([0, 0])), (2, 1))
case("cross_entropy far out", lambda z: ops.cross_entropy(z, np.array([3, 0, 6])), (3, 7), scale=30)

# blocks of rows: one, two of which the last is short; every target counts or some do not
ROW_TARGETS = np.where(np.arange(260) % 3 == 0, -100, np.arange(260) % 2)
HEAD = _rng.standard_normal((7, 4))


def head_loss(h, targets, W=HEAD):
    return ops.linear_cross_entropy(h, Tensor(like(W.astype(h.dtype), h.data)), targets)


case("linear_cross_entropy", lambda h: head_loss(h, np.array([3, 0, 6])), (3, 4))
case("linear_cross_entropy ignoring", lambda h: head_loss(h, IGNORING[0]), (3, 4))
case("linear_cross_entropy one target", lambda h: head_loss(h, np.array([3])), (1, 4))
case("linear_cross_entropy blocks", lambda h: head_loss(h, ROW_TARGETS, HEAD[:2, :1]), (260, 1))

# ---- attention and positions

PADDED = np.array([[False, True, True, True], [True, True, True, True]])  # (B, S): the first row is padded on the left


def attend(q, k, v, mask=None, causal=True):
    bias = ops.causal_bias(q.shape[1], k.shape[1], mask, q.dtype) if causal else None
    return ops.attention(q, k, v, None if bias is None else like(bias, q.data))


for B, T, S, H, K, hd in [
    (2, 4, 4, 4, 2, 3), (2, 3, 5, 4, 1, 2), (1, 1, 5, 2, 2, 3), (1, 1, 1, 1, 1, 1), (0, 3, 3, 4, 2, 2),
]:  # fmt: skip
    case(f"attention H={H} K={K}", attend, (B, T, H, hd), (B, S, K, hd), (B, S, K, hd))
case("attention blocks", attend, (1, 70, 2, 1), (1, 72, 1, 1), (1, 72, 1, 1))
case("attention all seen", lambda q, k, v: attend(q, k, v, causal=False), (2, 3, 2, 2), (2, 4, 1, 2), (2, 4, 1, 2))
# three queries, not four: the place that is padding sees nothing, and where all scores are hidden the function is flat
case("attention padded", lambda q, k, v: attend(q, k, v, PADDED), (2, 3, 4, 3), (2, 4, 2, 3), (2, 4, 2, 3))
case("attention padded, one new", lambda q, k, v: attend(q, k, v, PADDED), (2, 1, 4, 3), (2, 4, 2, 3), (2, 4, 2, 3))
case("attention of itself", lambda x: attend(x, x, x), (2, 3, 2, 4))


def attend_cached(q, k0, v0, k, v):
    cache = KVCache()
    cache.extend(0, k0, v0)
    return attend(q, *cache.extend(0, k, v))


case("attention cache", attend_cached, (2, 3, 4, 3), (2, 2, 2, 3), (2, 2, 2, 3), (2, 3, 2, 3), (2, 3, 2, 3))


def turn(x, positions):
    half = x.shape[-1] // 2
    inv_freq = 100.0 ** -(np.arange(half) / half)
    cos, sin = ops.rotary_angles(np.asarray(positions, dtype=np.int64), inv_freq, x.dtype)
    return ops.rotary(x, like(cos, x.data), like(sin, x.data))


case("rotary", lambda x: turn(x, [[5, 6, 9]]), (2, 3, 2, 4))
case("rotary rows", lambda x: turn(x, [[0, 0, 1], [0, 1, 2]]), (2, 3, 2, 4))
case("rotary one pair", lambda x: turn(x, [[3]]), (1, 1, 1, 2))
case("rotary no rows", lambda x: turn(x, [[0, 1]]), (0, 2, 2, 4))

# ---- LoRA: out != in != r, s != 1


def lora(x, W, A, B):
    return low_rank_update(ops.linear(x, W), x, A, B, 5 / 3)


for shape in [(2, 4, 5), (4, 5), (1, 5), (0, 3, 5), (5,)]:
    case("low_rank_update", lora, shape, (7, 5), (3, 5), (7, 3))
case("low_rank_update r=1", lora, (4, 2), (3, 2), (1, 2), (3, 1))
case("low_rank_update of a number", lora, (1, 1), (1, 1), (1, 1), (1, 1))
case("low_rank_update twice", lambda x, W, A, B: low_rank_update(lora(x, W, A, B), x, A, B, 0.7),
     (4, 5), (7, 5), (3, 5), (7, 3))  # fmt: skip


def lora_embedding(E, A, B):
    ids = np.array([[1, 4, 1], [0, 1, 4]])
    adapter = EmbeddingLora(Place("E", "embedding", E.shape), LoraConfig(r=A.shape[0], lora_alpha=A.shape[0] * 5 / 3))
    adapter.A, adapter.B = A, B
    return adapter.update(ops.embedding(E, ids), ids, None, Context())


case("low rank rows of an embedding", lora_embedding, (6, 4), (3, 6), (4, 3))
