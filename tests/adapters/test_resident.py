"""Adapters in slots: what they give, and what is freed."""

import numpy as np
import pytest
from many_adapters import IDS, NAMES, many_adapters

from minilora.adapters.mixed import BASE, Rows
from minilora.adapters.resident import Resident
from minilora.autograd import no_grad


@pytest.fixture(scope="module")
def llama():
    return many_adapters()


def resident_of(model, names, n_slots=6):
    """A Resident with these adapters, and which of them it took."""
    layers = {layer.path: layer for layer in model.base_model.layers}
    resident = Resident(n_slots)
    return resident, [n for n in names if resident.put(n, model.base_model.adapters[n].methods, layers)]


def logits(model, ids, rows):
    return model(ids, rows=rows).numpy()


def test_adapters_in_slots_give_what_the_loop_gives(llama):
    names = [name for name in dict.fromkeys(NAMES) if name not in (BASE, "saved")]
    resident, taken = resident_of(llama, names, n_slots=20)
    assert set(names) - set(taken) == {"embedded", "biased"}  # they stay with the loop
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


def test_adapters_of_vera_with_the_same_matrices_share_them(llama):
    resident, _ = resident_of(llama, ["vera", "vera2", "vera3"])
    path = next(iter(llama.base_model.adapters["vera"].methods))
    stacks = {name: resident.stack(resident._kind_of[name], path) for name in ("vera", "vera2", "vera3")}
    assert stacks["vera"] is stacks["vera2"] is not stacks["vera3"]
    assert [(s.slots, s.each) for s in resident.segments({"vera": [0], "vera2": [2], "vera3": [1]})] == [
        (slice(0, 2), 1), (slice(2, 3), 1),
    ]  # fmt: skip


def test_the_arrays_of_a_rank_are_freed_with_its_last_adapter(llama):
    resident, _ = resident_of(llama, ["lora", "wide", "rs"])
    path = next(path for path in llama.base_model.adapters["wide"].methods if path.endswith(("q_proj",)))
    assert len(resident._stacks[path]) == 2
    resident.drop("wide")
    assert len(resident._stacks[path]) == 1
    resident.drop("lora")
    resident.drop("rs")
    assert not any(resident._stacks.values()) and not resident._by_kind


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
