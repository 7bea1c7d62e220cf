"""Every operation, its gradient, and the whole model of the engine, on a device as on the CPU."""

import sys

import numpy as np
import pytest
from engine_cases import CASES
from places import assert_all_same_bits
from tiny import random_ids, tiny_llama, with_lora

from minilora.autograd import Tensor
from minilora.backend import array_module, device_of, scatter_add, to_device, to_host
from minilora.gradcheck import gradcheck
from minilora.training.optim import AdamW, clip_grad_norm_

each_case = pytest.mark.parametrize("case", CASES, ids=str)


def results(case, device, dtype):
    inputs = [Tensor(to_device(a.astype(dtype), device), requires_grad=True) for a in case.arrays]
    y = case.f(*inputs)
    y.backward(to_device(np.random.default_rng(1).standard_normal(y.shape).astype(dtype), device))
    return [y.data, *(t.grad for t in inputs)]


@pytest.mark.slow  # on the stand-in: test_ops.py has these cases too
@each_case
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-5), (np.float64, 1e-11)])
def test_an_operation_gives_the_numbers_of_numpy_on_a_device(device, case, dtype, tolerance):
    here, there = results(case, "cpu", dtype), results(case, device, dtype)
    for a, b in zip(there, here, strict=True):
        assert device_of(a) == "cuda:0"
        assert a.dtype == dtype
        np.testing.assert_allclose(to_host(a), b, rtol=tolerance, atol=tolerance * (1 + np.abs(b).max(initial=0)))


@pytest.mark.slow
@pytest.mark.parametrize("case", [c for c in CASES if sum(a.size for a in c.arrays) < 40], ids=str)
def test_the_gradient_equals_central_differences_on_a_device(device, case):
    gradcheck(case.f, [Tensor(to_device(a, device), requires_grad=True) for a in case.arrays])


def test_arrays_go_there_and_back_unchanged(device):
    x = np.random.default_rng(0).standard_normal((3, 4))
    there = to_device(x, device)
    assert array_module(there) is sys.modules["cupy"]
    assert np.array_equal(to_device(there, "cpu"), x)
    assert "cuda:0" in repr(Tensor(there))


def test_scatter_add_adds_up_repeated_rows(device):
    target = to_device(np.zeros((3, 2), np.float32), device)
    scatter_add(target, to_device(np.array([2, 0, 2]), device), to_device(np.ones((3, 2), np.float32), device))
    assert to_host(target).tolist() == [[1, 1], [0, 0], [2, 2]]


def losses(device, make, steps=5):
    model = make().to(device)
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = AdamW(params, lr=1e-2)
    model.train()
    rng, found = np.random.default_rng(4), []
    for _ in range(steps):
        loss = model.loss(random_ids(shape=(3, 6)), random_ids(shape=(3, 6)), rng=rng)
        loss.backward()
        clip_grad_norm_(params, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        found.append(loss.item())
    return found


@pytest.mark.parametrize(
    "make",
    [tiny_llama, lambda: with_lora(tiny_llama()), lambda: with_lora(tiny_llama(), "all-linear", dropout=0.2)],
    ids=["all weights", "q and v", "all-linear with dropout"],
)
def test_the_whole_model_trains_as_on_the_cpu(device, make):
    np.testing.assert_allclose(losses(device, make), losses("cpu", make), rtol=1e-3)


def test_generation_gives_the_tokens_of_the_cpu(device):
    prompts = [[3, 1, 4, 1, 5], [9, 2], [6]]
    for options in ({}, {"temperature": 0.8, "top_k": 9, "top_p": 0.9, "seed": 3}):
        here = tiny_llama().generate(prompts, 6, **options)
        there = tiny_llama().to(device).generate(prompts, 6, **options)
        assert [row.tolist() for row in there] == [row.tolist() for row in here]


def test_a_model_comes_back_from_a_device_with_the_same_bits(device):
    model = with_lora(tiny_llama())
    before = [p.data.copy() for p in model.parameters()]
    model.to(device).to("cpu")
    assert_all_same_bits([p.data for p in model.parameters()], before)
