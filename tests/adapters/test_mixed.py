"""An adapter for each row of a batch: a row is what it is alone, whatever its neighbours are."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from tiny import random_ids, tiny_gpt2, tiny_llama

import minilora as ml
from minilora.adapters.mixed import BASE, Resident, Rows, Segment, Stack, as_slice, gather, loop
from minilora.autograd import no_grad
from minilora.errors import ConfigError, ShapeError, UnknownNameError

NAMES = ["lora", BASE, "dora", "vera", "lora", "ia3", "rs", "embedded", "saved", "pissa", BASE, "wide", "biased"]
IDS = random_ids(3, (len(NAMES), 7))


def many_adapters(make=tiny_llama, dtype=np.float64):
    """A model with adapters of every method that acts on layers, of several ranks and targets, none of them zero."""
    llama = make is tiny_llama
    model = make(dtype=dtype) if llama else make()
    attention, mlp = (["q_proj", "v_proj"], ["down_proj"]) if llama else (["c_attn", "attn.c_proj"], ["mlp.c_proj"])
    table = "embed_tokens" if llama else "wte"
    random = {"init_lora_weights": False}
    configs = {
        "lora": ml.LoraConfig(r=3, lora_alpha=5, target_modules=attention, **random),
        "wide": ml.LoraConfig(r=3, lora_alpha=7, target_modules=attention, rank_pattern={attention[0]: 5}, **random),
        "rs": ml.LoraConfig(r=4, lora_alpha=6, target_modules=mlp, use_rslora=True, **random),
        "dora": ml.LoraConfig(r=3, lora_alpha=4, target_modules=attention, use_dora=True, **random),
        "embedded": ml.LoraConfig(r=2, lora_alpha=3, target_modules=[table, *mlp], **random),
        "saved": ml.LoraConfig(r=2, lora_alpha=3, target_modules=mlp, modules_to_save=["lm_head"], **random),
        "biased": ml.LoraConfig(r=3, lora_alpha=4, target_modules=attention, lora_bias=True, **random),
        "pissa": ml.LoraConfig(r=2, lora_alpha=3, target_modules=attention, init_lora_weights="pissa"),
        "vera": ml.VeraConfig(r=4, target_modules=mlp, init_weights=False),
        "ia3": ml.IA3Config(target_modules=[*attention, *mlp], feedforward_modules=mlp, init_ia3_weights=False),
    }
    if not llama:
        configs = {name: replace(config, fan_in_fan_out=True) for name, config in configs.items()}
    wrapped = ml.get_peft_model(model, configs["lora"], "lora", seed=1)
    for seed, (name, config) in enumerate(configs.items(), start=2):
        if name != "lora":
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".* has no bias, so this adapter cannot be merged")
                wrapped.add_adapter(name, config, seed)
    rng = np.random.default_rng(5)
    for name, p in wrapped.named_parameters():
        if any(part in name for part in (".pissa.", ".saved.", "lora_B.biased.bias", "magnitude")):  # off their start
            p.data = p.data + (0.3 * rng.standard_normal(p.shape)).astype(p.dtype)
    return wrapped.eval()


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


def resident_of(model, names, n_slots=6):
    """A Resident with these adapters, and which of them it took."""
    layers = {layer.path: layer for layer in model.base_model.layers}
    resident = Resident(n_slots)
    return resident, [n for n in names if resident.put(n, model.base_model.adapters[n].methods, layers)]


def logits(model, ids, rows):
    return model(ids, rows=rows).numpy()


def test_adapters_in_slots_give_what_the_loop_gives(llama):
    resident, taken = resident_of(llama, ["rs", "lora", "dora", "vera", "pissa", "wide", "biased"])
    assert taken == ["rs", "lora", "dora", "pissa", "wide"]  # VeRA is no s B A x: it stays with the loop
    with no_grad():
        fast, plain = (logits(llama, IDS, Rows(NAMES, r)) for r in (resident, None))
    assert np.abs(fast - plain).max() <= 1e-12 * np.abs(plain).max()


def test_a_slot_that_was_freed_answers_as_its_next_adapter(llama):
    resident, _ = resident_of(llama, ["lora", "dora"], n_slots=2)
    resident.drop("lora")
    layers = {layer.path: layer for layer in llama.base_model.layers}
    assert resident.put("wide", llama.base_model.adapters["wide"].methods, layers)
    names = ["dora", "wide", "lora", BASE]
    with no_grad():
        fast, plain = (logits(llama, IDS[:4], Rows(names, r)) for r in (resident, None))
    assert np.abs(fast - plain).max() <= 1e-12 * np.abs(plain).max()


def test_neighbouring_slots_of_one_shape_are_one_product():
    resident = Resident(8)
    resident.slots = {"a": 0, "b": 1, "c": 2, "d": 4, "e": 5}
    resident._kind_of = {"a": 0, "b": 0, "c": 1, "d": 0, "e": 0}
    found = resident.segments({"b": [3], "a": [0], "c": [1, 2], "e": [5, 7], "d": [4, 6]})
    assert [(s.slots, s.each, s.kind) for s in found] == [
        (slice(0, 2), 1, 0),
        (slice(2, 3), 2, 1),
        (slice(4, 6), 2, 0),
    ]
    assert found[1].rows == slice(1, 3)
    assert [np.arange(8)[s.rows].tolist() for s in found] == [[0, 3], [1, 2], [4, 6, 5, 7]]


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
    Stack(A, B, s[:, None, None]).add(three, x, Segment(slice(1, 4), np.array([2, 7, 3, 5, 0, 6]), 2, 0), None)
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
