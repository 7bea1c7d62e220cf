"""Hundreds of adapters on a card, rehearsed with a few: the stand-in as CuPy, tiny sizes."""

import math

import numpy as np
import pytest

pytest.importorskip("torch")

from benchmarks.gpu import device, resident
from benchmarks.gpu.bases import SHAPE_8B, SMALL, in_nf4, random_base, repeated
from minilora.models.llama import LlamaConfig, LlamaForCausalLM
from minilora.quantization.nf4 import FourBit

pytestmark = pytest.mark.reference
SMALL_BASE = SMALL | {"num_hidden_layers": 1}


@pytest.fixture(autouse=True)
def float32_again(card):
    yield
    device.tf32_products(False)


@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], "all-linear"])
def test_adapters_are_loaded_switched_and_decoded_with(card, targets):
    (r,) = resident.measure(SMALL_BASE, targets, 2, most=3, kept_gib=0, batch_sizes=[1, 4], prompt=2, seconds=0)
    assert (r["resident"], r["fit"]) == (3, 10**6 // r["adapter_bytes"])
    assert list(r["step_ms"]) == ["base 1", "base 4", "own 1", "own 4"]
    times = [r[name] for name in ("file_ms", "pinned_ms", "slot_ms", "same_ms", "switched_ms")]
    assert min(*times, *r["step_ms"].values()) > 0 and math.isfinite(r["switch_ms"])
    assert resident.row(r).startswith(resident.shown(targets))
    layers = SMALL_BASE["num_hidden_layers"]
    sides = {"q_proj": 128 + 128, "v_proj": 128 + 128}
    if targets != "all-linear":
        assert r["adapter_bytes"] == 4 * 2 * layers * sum(sides.values())


def test_as_many_adapters_are_loaded_as_fit(card, monkeypatch):
    monkeypatch.setattr("strict_cupy.Device.mem_info", (15_000, 10**9))
    (r,) = resident.measure(SMALL_BASE, ["q_proj"], 2, most=9, kept_gib=0, batch_sizes=[1], prompt=2, seconds=0)
    assert r["resident"] == r["fit"] == 15_000 // r["adapter_bytes"] < 9


def test_rows_without_enough_adapters_share_them():
    assert resident.own_names(["0", "1", "2"], 5) == ["0", "0", "1", "1", "2"]


def test_the_base_has_the_parameters_of_llama_3_8b():
    model = LlamaForCausalLM(LlamaConfig(**SHAPE_8B))
    assert sum(math.prod(p.shape) for p in model.parameters()) == 8_030_261_248


def test_a_weight_of_repeated_rows_reads_as_these_rows_again_and_again(card):
    import cupy

    drawn = np.random.default_rng(0).standard_normal((128, 128)).astype(np.float32)
    few = FourBit.of(cupy.asarray(drawn), double=True)
    expected = np.tile(few.dense().get(), (3, 1))
    assert np.array_equal(repeated(few, (384, 128)).dense().get(), expected)


def test_a_base_on_a_device_is_all_on_the_device(card):
    base = random_base(SMALL, in_nf4("float16"), "float16")
    kinds = {type(p.data).__name__ for p in base.parameters()}
    assert kinds == {"FourBit", "SixteenBit", "ndarray"}
    assert all(p.device == "cuda:0" for p in base.parameters())
