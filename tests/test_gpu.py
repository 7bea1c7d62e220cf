"""The same parity suite on a real GPU through CuPy; skipped where there is none.

pip install "minilora[cuda12]"    # or cuda13
python -m pytest -m gpu
"""

import numpy as np
import pytest
from engine_cases import CASES
from tiny import random_ids, tiny_llama, with_lora

from minilora.autograd import Tensor
from minilora.backend import array_module, device_of, scatter_add, to_device, to_host
from minilora.gradcheck import gradcheck
from minilora.training.optim import AdamW, clip_grad_norm_


def gpu_is_there():
    try:
        import cupy
    except ImportError:
        return False
    return cupy.cuda.is_available()


pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not gpu_is_there(), reason="no CUDA device with CuPy")]
each_case = pytest.mark.parametrize("case", CASES, ids=str)


def results(case, device, dtype):
    inputs = [Tensor(to_device(a.astype(dtype), device), requires_grad=True) for a in case.arrays]
    y = case.f(*inputs)
    y.backward(to_device(np.random.default_rng(1).standard_normal(y.shape).astype(dtype), device))
    return [y.data, *(t.grad for t in inputs)]


@each_case
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-5), (np.float64, 1e-11)])
def test_an_operation_gives_the_numbers_of_numpy_on_the_gpu(case, dtype, tolerance):
    here, there = results(case, "cpu", dtype), results(case, "cuda", dtype)
    for a, b in zip(there, here, strict=True):
        assert device_of(a) == "cuda:0"
        assert a.dtype == dtype
        np.testing.assert_allclose(to_host(a), b, rtol=tolerance, atol=tolerance * (1 + np.abs(b).max(initial=0)))


@pytest.mark.parametrize("case", [c for c in CASES if sum(a.size for a in c.arrays) < 40], ids=str)
def test_the_gradient_equals_central_differences_on_the_gpu(case):
    gradcheck(case.f, [Tensor(to_device(a, "cuda"), requires_grad=True) for a in case.arrays])


def test_arrays_go_there_and_back_unchanged():
    x = np.random.default_rng(0).standard_normal((3, 4))
    there = to_device(x, "cuda")
    assert array_module(there).__name__ == "cupy"
    assert np.array_equal(to_device(there, "cpu"), x)
    assert "cuda:0" in repr(Tensor(there))


def test_scatter_add_adds_up_repeated_rows():
    target = to_device(np.zeros((3, 2), np.float32), "cuda")
    scatter_add(target, to_device(np.array([2, 0, 2]), "cuda"), to_device(np.ones((3, 2), np.float32), "cuda"))
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
def test_the_whole_model_trains_as_on_the_cpu(make):
    np.testing.assert_allclose(losses("cuda", make), losses("cpu", make), rtol=1e-3)


def test_generation_gives_the_tokens_of_the_cpu():
    prompts = [[3, 1, 4, 1, 5], [9, 2], [6]]
    for options in ({}, {"temperature": 0.8, "top_k": 9, "top_p": 0.9, "seed": 3}):
        here = tiny_llama().generate(prompts, 6, **options)
        there = tiny_llama().to("cuda").generate(prompts, 6, **options)
        assert [row.tolist() for row in there] == [row.tolist() for row in here]


def test_a_model_comes_back_from_the_gpu_with_the_same_bits():
    model = with_lora(tiny_llama())
    before = [p.data.copy() for p in model.parameters()]
    model.to("cuda").to("cpu")
    assert all(np.array_equal(p.data, b) for p, b in zip(model.parameters(), before, strict=True))
