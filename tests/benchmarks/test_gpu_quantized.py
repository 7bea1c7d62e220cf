"""Layers in 4 and 8 bits and a QLoRA step on a card, rehearsed: the stand-in as CuPy, torch on the CPU, tiny sizes."""

import importlib.util
import math

import numpy as np
import pytest

pytest.importorskip("torch")

from benchmarks.gpu import quantized
from benchmarks.gpu.bases import SMALL
from benchmarks.gpu.rates import PRECISIONS

pytestmark = [pytest.mark.reference, pytest.mark.usefixtures("card")]  # card: torch is in float32 afterwards


def test_every_format_is_measured_in_each_precision_beside_torch():
    rows = list(quantized.layers([(128, 64), (48, 70)], [1, 3], square=32, mib=1, seconds=0))
    kinds = ["dense", *quantized.FORMATS]
    expected = [(kind, precision) for kind in kinds for precision in PRECISIONS] + [("torch", "bfloat16")]
    if importlib.util.find_spec("bitsandbytes") is not None:
        expected += [("bitsandbytes", "bfloat16")]
    assert [(r["format"], r["precision"]) for r in rows] == expected * 4
    assert all(r["both"] > 0 and r["rate_share"] > 0 and r["bandwidth_share"] > 0 for r in rows)
    assert all(r["same_bits"] is (True if r["format"] in quantized.FORMATS else None) for r in rows)
    assert all((r["read"] or 0) > 0 if r["format"] in quantized.FORMATS else r["read"] is None for r in rows)
    assert {len(quantized.layer_row(r)) for r in rows} == {len(quantized.LAYERS.head)}
    bytes_of = {(r["format"], r["precision"]): r["bytes"] for r in rows if r["out"] == 128}
    assert bytes_of["dense", "float32"] == 4 * 128 * 64
    assert bytes_of["dense", "float16"] == bytes_of["torch", "bfloat16"] == 2 * 128 * 64
    assert bytes_of["nf4", "float32"] == bytes_of["nf4", "float16"] == 128 * 64 // 2 + 4 * 128
    assert bytes_of.get(("bitsandbytes", "bfloat16"), bytes_of["nf4", "tf32"]) == bytes_of["nf4", "tf32"]
    assert bytes_of["int8", "tf32"] == 128 * 64 + 4 * 128


@pytest.mark.parametrize("name", quantized.FORMATS)
def test_a_weight_of_which_the_card_reads_another_number_is_seen(monkeypatch, name):
    weight = quantized.stored_weights(64, 128)[0][name]
    assert quantized.reads_the_same(weight)
    monkeypatch.setattr(quantized, "to_host", lambda array: array.get() * np.float32(1.001))
    assert not quantized.reads_the_same(weight)


def test_the_sides_of_a_layer_compute_the_same_product(card, monkeypatch):
    results = []

    def noted(f):
        return lambda *given, **keywords: results.append(f(*given, **keywords)) or results[-1]

    weights, _ = quantized.stored_weights(64, 128)
    monkeypatch.setattr(quantized, "stored_linear", noted(quantized.stored_linear))
    monkeypatch.setattr(quantized.ops, "linear", noted(quantized.ops.linear))
    for forward, _ in quantized.sides_of(weights, 2).values():
        forward()
    dense = results[0].data.get()
    assert len(results) == 4 * len(PRECISIONS) and np.abs(dense).max() > 0.3
    for y in results:
        assert np.abs(y.data.get() - dense).max() < 0.15 * np.abs(dense).max()  # what 4 bits lose


def test_a_qlora_step_is_measured_beside_the_same_step_on_a_float32_base(card):
    rows = list(quantized.qlora(SMALL | {"num_hidden_layers": 1}, rank=2, rows=2, tokens=6, seconds=0))
    assert [r["precision"] for r in rows] == list(PRECISIONS)
    assert len({len(quantized.qlora_row(r)) for r in rows}) == 1
    for r in rows:
        assert r["tokens"] == 12 and r["step_mib"] == {"float32": 3, "nf4": 3}
        assert r["nf4/float32"] == r["ms"]["nf4"] / r["ms"]["float32"]
        assert abs(r["first_loss"]["float32"] - r["first_loss"]["nf4"]) < 0.2
        assert abs(r["first_loss"]["float32"] - math.log(SMALL["vocab_size"])) < 1
        assert r["base_mib"]["nf4"] < r["base_mib"]["float32"]
