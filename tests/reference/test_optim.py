"""The optimizers beside PyTorch's."""

import numpy as np
import pytest
from optim_cases import gradients, parameters

from minilora.training.optim import SGD, AdamW, clip_grad_norm_, cosine

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.reference


def beside_torch(ours, theirs, steps, schedule=lambda step: 1.0):
    """Feed both optimizers the same gradients; returns the largest relative difference of any value at any step."""
    mine, other = ours(parameters()), None
    torch_params = [torch.nn.Parameter(torch.tensor(p.data.copy())) for p in mine.params]
    other = theirs(torch_params)
    rates = [group["lr"] for group in other.param_groups]
    worst = 0.0
    for step in range(1, steps + 1):
        for group, rate in zip(other.param_groups, rates, strict=True):
            group["lr"] = rate * schedule(step)
        for p, t, g in zip(mine.params, torch_params, gradients(step), strict=True):
            p.grad, t.grad = g, torch.tensor(g)
        mine.step(schedule(step))
        other.step()
        for p, t in zip(mine.params, torch_params, strict=True):
            worst = max(worst, np.max(np.abs(p.data - t.detach().numpy()) / (np.abs(p.data) + 1e-3)))
    return worst


def test_adamw_with_its_defaults_is_torchs_to_float64_rounding():
    assert beside_torch(AdamW, torch.optim.AdamW, 60) < 1e-12


def test_adamw_with_other_settings_and_a_schedule_is_torchs():
    settings = {"lr": 3e-2, "betas": (0.8, 0.95), "eps": 1e-5, "weight_decay": 0.3}
    difference = beside_torch(
        lambda p: AdamW(p, **settings), lambda p: torch.optim.AdamW(p, **settings), 60, cosine(60, 7)
    )
    assert difference < 1e-12


def test_groups_keep_their_own_rate_and_decay_as_torchs_do():

    def groups(p):
        return [{"params": p[:1], "lr": 1e-1, "weight_decay": 0.0}, {"params": p[1:]}]

    difference = beside_torch(lambda p: AdamW(groups(p), lr=1e-3), lambda p: torch.optim.AdamW(groups(p), lr=1e-3), 30)
    assert difference < 1e-12


def test_sgd_with_momentum_is_torchs():
    settings = {"lr": 1e-3, "momentum": 0.9}
    assert beside_torch(lambda p: SGD(p, **settings), lambda p: torch.optim.SGD(p, **settings), 30) < 1e-12


def test_adamw_in_float32_is_torchs_within_1e_6():
    ours = parameters(np.float32)
    theirs = [torch.nn.Parameter(torch.tensor(p.data.copy())) for p in ours]
    mine, other = AdamW(ours), torch.optim.AdamW(theirs)
    for step in range(40):
        for p, t, g in zip(ours, theirs, gradients(step, np.float32), strict=True):
            p.grad, t.grad = g, torch.tensor(g)
        mine.step()
        other.step()
    for p, t in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.data, t.detach().numpy(), rtol=1e-6, atol=1e-6)


def test_clipping_is_torchs():
    ours = parameters()
    theirs = [torch.nn.Parameter(torch.tensor(p.data)) for p in ours]
    for p, t, g in zip(ours, theirs, gradients(5), strict=True):
        p.grad, t.grad = g.copy(), torch.tensor(g)
    bound = 0.3 * float(np.linalg.norm(np.concatenate([p.grad.ravel() for p in ours])))
    assert float(clip_grad_norm_(ours, bound)) == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs, bound)))
    for p, t in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.grad, t.grad.numpy(), rtol=1e-12)
