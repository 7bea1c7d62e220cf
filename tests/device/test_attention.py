"""Attention on a device: ops/test_ops.py compares its numbers with NumPy's, here its launches are counted."""

import numpy as np
import pytest
import strict_cupy
from launches import count_launches

from minilora import ops
from minilora.autograd import Tensor
from minilora.backend import like

B, T, H, K, hd = 2, 12, 4, 2, 6


def on_device(*shape):
    values = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    return Tensor(strict_cupy.asarray(values), requires_grad=True)


def of_rotary(x):  # attention's q and k are what rotary gives
    cos, sin = ops.rotary_angles(np.arange(T)[None], np.ones(hd // 2, np.float32))
    return ops.rotary(x, like(cos, x.data), like(sin, x.data))


def test_a_block_of_attention_copies_no_scores_and_makes_at_most_21_launches():
    q, k, v = of_rotary(on_device(B, T, H, hd)), of_rotary(on_device(B, T, K, hd)), on_device(B, T, K, hd)
    bias = strict_cupy.asarray(ops.causal_bias(T, T))
    with count_launches() as found:
        ops.attention(q, k, v, bias).sum().backward()
    assert max(e.written for e in found.copies()) < B * H * T * T * 4
    assert not found.uploads and not found.syncs
    in_attention = [e for e in found.launches if e.place.startswith("device/attention")]
    assert len(in_attention) <= 21, found.table()


@pytest.mark.parametrize("back", [False, True])
def test_rotary_is_one_launch_each_way(back):
    x = on_device(B, T, H, hd)
    cos, sin = (strict_cupy.asarray(a) for a in ops.rotary_angles(np.arange(T)[None], np.ones(hd // 2, np.float32)))
    with count_launches() as found:
        y = ops.rotary(x, cos, sin)
    if back:
        g = strict_cupy.asarray(np.ones(y.shape, np.float32))
        with count_launches() as found:
            y.backward(g)
    assert [e.name for e in found.launches if "rotate" in e.name] == ["fused rotate_pairs"]
    assert len(found) == 1
