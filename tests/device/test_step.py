"""Ratchets: what a step and a token ask of a card, counted on the stand-in. A number here may only become smaller.

tests/reference/test_launches.py counts the operations of PyTorch.
"""

import functools
import sys
from pathlib import Path

import numpy as np
import pytest
import strict_cupy
from launches import count_launches
from tiny import random_ids, tiny_gpt2, tiny_llama, with_lora

from minilora.training.loop import train
from minilora.training.optim import AdamW
from minilora.training.precision import precision_named

B, T = 2, 7


@pytest.fixture(autouse=True)
def device(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", strict_cupy)


def step_of(model, precision="float32"):  # -> Count of the second step
    model.to("cuda")
    optimizer = AdamW([p for p in model.parameters() if p.requires_grad])
    batches, found = [(random_ids(shape=(B, T)), random_ids(1, shape=(B, T)))], []

    def count(run):
        if run.step == 1:
            found.append(count_launches())
            found.append(found[0].__enter__())

    train(model, iter(batches * 2), optimizer, 2, precision=precision_named(precision), callbacks=[count])
    found[0].__exit__(None, None, None)
    return found[1]


@functools.cache
def counted(kind, layers, precision="float32"):
    if kind == "gpt2":
        return step_of(with_lora(tiny_gpt2(n_layer=layers), ["c_attn"], transposed=True), precision)
    model = tiny_llama(num_hidden_layers=layers)
    return step_of(model if kind == "full" else with_lora(model, KINDS[kind]), precision)


KINDS = {"q and v": ["q_proj", "v_proj"], "all-linear": "all-linear"}


A_STEP = {"q and v": (73, 20), "all-linear": (120, 22), "full": (65, 39), "gpt2": (71, 28)}  # a layer, besides
A_TOKEN = 132


@pytest.mark.parametrize(("kind", "a_layer", "besides"), [(kind, *counts) for kind, counts in A_STEP.items()])
def test_a_step_launches_at_most_so_much_a_layer(kind, a_layer, besides):
    few, many = counted(kind, 3), counted(kind, 4)
    assert len(many) - len(few) <= a_layer, many.table()
    assert len(many) - 4 * a_layer <= besides, many.table()


@pytest.mark.parametrize("kind", [*KINDS, "full", "gpt2"])
def test_a_step_makes_the_host_wait_for_nothing(kind):
    assert counted(kind, 4).syncs == []


@pytest.mark.parametrize("kind", [*KINDS, "full"])
def test_a_step_uploads_ids_targets_and_addresses_of_what_it_joins(kind):
    found = counted(kind, 4)
    n = B * (T - 1)  # positions with a label
    of_the_batch = {(B, T), (n,), (2, n)}
    others = [e for e in found.uploads if e.shape not in of_the_batch]
    assert len(found.uploads) - len(others) <= 4
    assert {e.place.partition(":")[0] for e in others} <= {"device/joined.py"}


@pytest.mark.parametrize("kind", [*KINDS, "full", "gpt2"])
def test_no_float64_appears_in_a_float32_step(kind):
    assert [e for e in counted(kind, 4).float64] == []


@pytest.mark.parametrize("kind", [*KINDS, "full", "gpt2"])
def test_a_step_copies_no_scores(kind):
    heads = {"gpt2": 3}.get(kind, 4)
    assert not [
        e for e in counted(kind, 4).copies() if e.shape[-2:] == (T, T) and np.prod(e.shape) >= B * heads * T * T
    ]


def test_a_new_token_uploads_its_id_waits_once_and_launches_30_kernels_a_layer():
    def tokens(layers, n):
        model = with_lora(tiny_llama(num_hidden_layers=layers)).to("cuda")
        model.generate([[3, 1, 4]], n)  # the table of angles is there
        with count_launches() as found:
            model.generate([[3, 1, 4]], n)
        return found

    more, fewer, shallow = tokens(4, 6), tokens(4, 5), (tokens(3, 6), tokens(3, 5))
    a_token = len(more) - len(fewer)
    assert len(more.uploads) - len(fewer.uploads) == 1
    assert len(more.syncs) - len(fewer.syncs) == 1
    assert a_token - (len(shallow[0]) - len(shallow[1])) <= 32
    assert a_token <= A_TOKEN, more.table()


def test_the_page_says_these_numbers():
    page = Path(__file__).parents[2] / "benchmarks" / "RESULTS.md"
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if " a layer and " in line]
    assert [row.split("|")[2].strip() for row in rows] == [
        f"{a_layer} a layer and {besides}" for kind, (a_layer, besides) in A_STEP.items() if kind != "gpt2"
    ]
    assert f"| {A_TOKEN} | 224 |" in page.read_text(encoding="utf-8")


# ---- 16 bits


@pytest.mark.parametrize(("precision", "most"), [("float16", 584), ("bfloat16", 495)])
def test_a_step_in_16_bits_launches_less_than_twice_as_much(precision, most):
    assert len(counted("q and v", 4, precision)) <= most


def test_a_float16_step_waits_once_for_whether_a_gradient_is_finite():
    assert counted("q and v", 4, "float16").syncs == ["bool"]


def test_the_products_with_frozen_weights_of_a_float16_step_are_products_of_float16():
    found = [e for e in counted("q and v", 4, "float16").launches if e.name == "matmul" and e.dtype == np.float16]
    assert len(found) >= 4 * 7 + 3 * 7 + 4  # forward; backward, which ends at q, k and v of the first layer


def test_no_product_of_a_step_is_of_many_matrices_but_attention():
    for precision in ("float32", "float16"):  # CuPy computes those in float32 at any precision
        batched = [e for e in counted("q and v", 4, precision).launches if e.name == "matmul batched"]
        assert {e.place.partition(":")[0] for e in batched} == {"device/attention.py"}
