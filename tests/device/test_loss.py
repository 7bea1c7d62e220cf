"""The losses on a device: ops/test_ops.py compares their numbers with NumPy's, here their launches are counted."""

import numpy as np
import strict_cupy
from launches import count_launches

from minilora import ops
from minilora.autograd import Tensor
from minilora.device import loss as device_loss

N, V, d = 300, 40, 8
TARGETS = np.random.default_rng(0).integers(0, V, N)


def on_device(*shape):
    values = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    return Tensor(strict_cupy.asarray(values), requires_grad=True)


def test_the_loss_of_logits_uploads_targets_and_weights_and_makes_11_launches():
    z = on_device(N, V)
    with count_launches() as found:
        ops.cross_entropy(z, TARGETS).backward()
    assert [e.shape for e in found.uploads] == [(N,), (N,)]
    assert len(found) <= 11 and not found.syncs, found.table()


def test_the_loss_of_a_frozen_head_uploads_targets_and_weights_and_makes_12_launches():
    h, W = on_device(N, d), Tensor(on_device(V, d).data)
    with count_launches() as found:
        ops.linear_cross_entropy(h, W, TARGETS).backward()
    assert [e.shape for e in found.uploads] == [(2, N), (N,)]
    assert len(found) <= 12 and not found.syncs, found.table()


def test_more_logits_than_fit_are_made_in_blocks_to_the_same_loss(monkeypatch):
    W = Tensor(on_device(V, d).data)
    whole, parts = on_device(N, d), on_device(N, d)
    ops.linear_cross_entropy(whole, W, TARGETS).backward()
    monkeypatch.setattr(device_loss, "LOGITS", 64 * V)
    with count_launches() as found:
        ops.linear_cross_entropy(parts, W, TARGETS).backward()
    assert max(e.written for e in found.launches if e.name == "matmul") == 64 * V * 4
    np.testing.assert_allclose(parts.grad.get(), whole.grad.get(), rtol=1e-5, atol=1e-7)


def test_no_target_gives_nan_and_no_gradient():
    h, W = on_device(3, d), Tensor(on_device(V, d).data)
    loss = ops.linear_cross_entropy(h, W, np.full(3, -100))
    loss.backward()
    assert np.isnan(loss.data.get()) and not h.grad.get().any()
