"""An adapter for each row of a batch: a row is what it is alone, whatever its neighbours are."""

import sys

import numpy as np
import pytest
import strict_cupy
from launches import count_launches
from many_adapters import IDS, NAMES, many_adapters
from strict_cupy import watched_by
from tiny import tiny_gpt2, tiny_llama

import minilora as ml
from minilora.adapters.mixed import BASE, Rows, Segment, Stack, as_slice, gather, loop
from minilora.adapters.resident import Resident
from minilora.autograd import no_grad
from minilora.backend import to_host
from minilora.errors import ConfigError, ShapeError, UnknownNameError
from minilora.methods.base import Product


def alone(model, name, ids):
    """The logits of one row with one adapter, as they are without mixing."""
    return model(ids[None], adapters=() if name == BASE else (name,)).numpy()[0]


@pytest.fixture(scope="module")
def llama():
    return many_adapters()


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_every_row_of_a_mixed_batch_equals_itself_alone(make):
    model = many_adapters(make)
    with no_grad():
        mixed = model(IDS, adapter_names=NAMES).numpy()
        for row, name in enumerate(NAMES):
            expected = alone(model, name, IDS[row])
            tolerance = 1e-12 if expected.dtype == np.float64 else 1e-5
            assert np.abs(mixed[row] - expected).max() <= tolerance * np.abs(expected).max(), name


def test_no_two_of_these_adapters_compute_the_same(llama):
    with no_grad():
        logits = [alone(llama, name, IDS[0]) for name in dict.fromkeys(NAMES)]
    for i, one in enumerate(logits):
        assert all(np.abs(one - other).max() > 1e-3 for other in logits[:i])


def test_each_row_generates_what_it_generates_alone_whatever_the_length_of_the_others(llama):
    prompts = [row[: 2 + i % 5] for i, row in enumerate(IDS)]
    mixed = llama.generate(prompts, 6, adapter_names=NAMES)
    for prompt, name, tokens in zip(prompts, NAMES, mixed, strict=True):
        llama.set_adapter([] if name == BASE else name)
        assert llama.generate(prompt, 6)[0].tolist() == tokens.tolist(), name


def test_a_batch_of_base_rows_is_the_base_to_the_bit(llama):
    with no_grad(), llama.disable_adapter():
        expected = llama(IDS).numpy()
    with no_grad():
        assert np.array_equal(llama(IDS, adapter_names=[BASE] * len(IDS)).numpy(), expected)


@pytest.mark.parametrize("resident", [False, True])
def test_a_gpu_gives_each_row_what_it_gets_here(monkeypatch, llama, resident):
    monkeypatch.setitem(sys.modules, "cupy", strict_cupy)
    there, results = many_adapters().to("cuda"), []
    for model in (llama, there):
        slots, layers = Resident(20), {layer.path: layer for layer in model.base_model.layers}
        for name in dict.fromkeys(NAMES) if resident else ():
            if name not in (BASE, "saved"):
                slots.put(name, model.base_model.adapters[name].methods, layers)
        with no_grad():
            results.append(to_host(model(IDS, rows=Rows(NAMES, slots)).data))
    np.testing.assert_allclose(*results, rtol=1e-9)


def test_a_gpu_is_given_the_rows_and_their_scales_once_a_step(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", strict_cupy)
    results = []
    for device in ("cpu", "cuda"):
        model = many_adapters().to(device)
        slots, layers = Resident(2), {layer.path: layer for layer in model.base_model.layers}
        for name in ("lora", "dora"):
            slots.put(name, model.base_model.adapters[name].methods, layers)
        names, scales = ["dora", "lora", "dora", "lora"], [1, 0.5, 1, 2]
        with no_grad(), count_launches() as mixed:
            results.append(to_host(model(IDS[:4], rows=Rows(names, slots, scales)).data))
    np.testing.assert_allclose(*results, rtol=1e-9)
    with no_grad(), count_launches() as base:
        model(IDS[:4], adapters=())
    assert len(mixed.uploads) - len(base.uploads) == 4  # the rows and the scales of two segments


def test_a_gpu_copies_no_adapter_in_a_step():
    def random(*shape):
        return strict_cupy.asarray(np.random.default_rng(0).standard_normal(shape))

    part, multiplied = Product(random(3, 8), random(5, 3), 2.0), []
    stack = Stack.of(part, 4)
    stack.put(1, part)
    x, y = random(2, 1, 8), random(2, 1, 5)
    before = y.copy()
    with watched_by(lambda name, operands, _: multiplied.extend(operands) if name == "matmul" else None):
        stack.add(y, x, Segment(slice(1, 2), slice(0, 2), 2, 0), None)
    assert len(multiplied) == 4 and all(a.flags.c_contiguous for a in multiplied)
    expected = 2 * x.get() @ part.A.get().T @ part.B.get().T
    np.testing.assert_allclose((y - before).get(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("T", [1, 3])
@pytest.mark.parametrize("r", [1, 4])
def test_loop_gather_and_segments_add_the_same(T, r):
    rng, n, n_in, out = np.random.default_rng(0), 5, 7, 6
    A, B, s = rng.standard_normal((n, r, n_in)), rng.standard_normal((n, r, out)), rng.standard_normal(n)
    slots = np.array([3, -1, 1, 2, -1, 2, 3, 1])
    x, y = rng.standard_normal((8, T, n_in)), rng.standard_normal((8, T, out))
    one, two, three = y.copy(), y.copy(), y.copy()
    loop(one, x, slots, A, B, s)
    gather(two, x, slots, A, B, s)
    Stack(A, B * s[:, None, None]).add(three, x, Segment(slice(1, 4), np.array([2, 7, 3, 5, 0, 6]), 2, 0), None)
    assert np.abs(one - y).max() > 0.1
    assert np.array_equal(one[[1, 4]], y[[1, 4]])
    assert np.allclose(one, two, rtol=0, atol=1e-12) and np.allclose(one, three, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("rows", "expected"), [([2, 3, 4], slice(2, 5)), ([5], slice(5, 6))])
def test_rows_that_follow_each_other_are_a_slice(rows, expected):
    assert as_slice(rows) == expected
    assert as_slice([4, 3]).tolist() == [4, 3]


def test_what_cannot_be_mixed_is_refused_by_name(llama):
    model = many_adapters()
    with no_grad(), pytest.raises(UnknownNameError, match="no adapter 'lore'"):
        model(IDS[:1], adapter_names=["lore"])
    with no_grad(), pytest.raises(ShapeError, match="3 names for a batch of 2 rows"):
        model(IDS[:2], adapter_names=["lora", BASE, "lora"])
    with pytest.raises(ConfigError, match="inside no_grad"):
        model(IDS[:1], adapter_names=["lora"])
    with pytest.raises(ConfigError, match="model.eval\\(\\) first"):
        model.train()(IDS[:1], adapter_names=["lora"])
    model.eval()
    model.add_adapter("prefix", ml.PrefixTuningConfig(num_virtual_tokens=3), 4)
    with no_grad(), pytest.raises(ConfigError, match="'prefix' .PREFIX_TUNING. has tokens in front"):
        model(IDS[:2], adapter_names=["prefix", BASE])
    model.set_adapter("lora")
    model.merge_adapter()
    with no_grad(), pytest.raises(ConfigError, match="'lora' is merged"):
        model(IDS[:2], adapter_names=["lora", BASE])
