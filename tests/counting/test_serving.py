"""Serving: what adapters and the cache add to one base, and what a switch moves."""

import pytest

from minilora.counting.architectures.catalog import load
from minilora.counting.count import count
from minilora.counting.serving import serving


def counted(name, targets="all-linear", rank=8):
    return count(load(name), targets, rank)


def test_serving_adds_the_adapters_and_the_cache_to_one_base():
    made = serving(counted("llama-3-8b", "q_proj,v_proj", 16), adapters=300, batch=4, length=1000, dtype="bfloat16")
    base, adapters, cache = (i.bytes for i in made.memory)
    assert base == 2 * 8_030_261_248
    assert adapters == 300 * 2 * 6_815_744
    assert cache == 4 * 1000 * 2 * 2 * 32 * 8 * 128  # keys and values, 32 layers, 8 heads of 128
    assert made.total == base + adapters + cache


@pytest.mark.parametrize(
    ("name", "per_token"), [("gpt2", 2 * 12 * 768), ("bert-base-uncased", 0), ("t5-small", 4 * 6 * 512)]
)
def test_the_cache_keeps_what_a_decoder_looks_back_at(name, per_token):
    made = serving(counted(name), adapters=1, batch=1, length=1, dtype="float32")
    assert made.memory[2].bytes == 4 * per_token


def test_switching_moves_nothing_or_the_adapter_or_all_adapted_weights_twice():
    made = serving(counted("llama-3-8b", "all-linear", 16), adapters=1, batch=1, length=1, dtype="bfloat16")
    assert made.switch_resident == 0
    assert made.switch_load == 2 * 41_943_040
    assert made.switch_merge == 2 * 2 * 6_979_321_856
