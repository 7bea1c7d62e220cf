"""Many adapters in one batch on a card, rehearsed: the stand-in as CuPy, tiny sizes."""

import numpy as np
import pytest

pytest.importorskip("torch")

from launches import count_launches

import minilora as ml
from benchmarks.gpu import adapters
from benchmarks.gpu.bases import SMALL, random_base
from minilora.adapters.inject import AdaptedModel
from minilora.adapters.resident import Resident

pytestmark = [pytest.mark.reference, pytest.mark.usefixtures("card")]  # card: torch is in float32 afterwards


@pytest.mark.parametrize(("base", "each"), [("float32", [1, 2]), ("nf4", [1])])
def test_every_way_is_measured_in_decoding_and_in_reading_prompts(base, each):
    shape = SMALL | {"num_hidden_layers": 1}
    found = list(adapters.measure(shape, base, "all-linear", 2, adapters=3, each=each, prompt=2, seconds=0))
    assert [(r["rows"], r["tokens"]) for r in found] == [(3 * count, tokens) for count in each for tokens in (1, 2)]
    assert len({len(adapters.row(r)) for r in found}) == 1
    assert all(list(r["ms"]) == list(adapters.WAYS) and min(r["ms"].values()) > 0 for r in found)


@pytest.fixture
def model_and_slots():
    model, resident = AdaptedModel(random_base(SMALL)), Resident(4)
    config = model.complete(ml.LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    for number in range(4):
        adapter = adapters.random_adapter(model, config, number)
        for p in adapter.own_parameters().values():
            p.data *= 20  # so that each adapter gives another token
        adapters.put(model, resident, str(number), adapter)
    return model, resident


def test_the_ways_give_each_row_the_token_of_its_adapter(model_and_slots):
    batches = adapters.batches_of(*model_and_slots, 4, 1, 6)
    read = {way: batch.read(6) for way, batch in batches.items()}
    tokens = {way: batch.decode() for way, batch in batches.items()}
    for found in (read, tokens):
        assert np.array_equal(found["own"], found["loop"])
        assert not np.array_equal(found["own"], found["base"])
    again = {way: batch.decode() for way, batch in batches.items()}
    assert all(np.array_equal(tokens[way], again[way]) for way in batches)  # a step leaves the rows as they were


@pytest.mark.parametrize(("way", "more"), [("own", 3), ("one", 3), ("shuffled", 4)])
def test_an_adapter_for_each_row_takes_a_few_launches_in_an_adapted_layer(model_and_slots, way, more):
    batches, found = adapters.batches_of(*model_and_slots, 4, 1, 6), {}
    for name in ("base", way):
        batches[name].read(6)
        with count_launches() as found[name]:
            batches[name].decode()
    adapted = 2 * SMALL["num_hidden_layers"]
    assert len(found[way]) - len(found["base"]) == more * adapted
    assert len(found[way].copies()) == len(found["base"].copies())
    assert len(found[way].uploads) - len(found["base"].uploads) == (way == "shuffled")  # the order of the rows
