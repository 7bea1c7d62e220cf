"""What fits on a card, and what would make the rest fit."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilora.counting.architectures.catalog import load
from minilora.counting.count import count
from minilora.counting.engine import own_budget
from minilora.counting.fits import answers, largest, own_answers
from minilora.counting.memory import budget

GIB = 2**30


def asked(model, batch, length, gib, targets="all-linear"):
    counted = count(load(model), targets, 16)
    return counted, {a.method: a for a in answers(counted, batch, length, "bfloat16", gib)}


def test_8b_with_8k_context_and_qlora_on_24_gb():
    _, found = asked("llama-3.1-8b", 1, 8192, 24.0)
    assert found["4-bit + LoRA"].fits and 21.6 < found["4-bit + LoRA"].total / GIB < 21.8
    prepared = found["4-bit + LoRA, prepared"]
    assert not prepared.fits and prepared.remedies == ("a chunked loss: 15.6 GiB", "--length 6272")


def test_on_an_l4_the_setting_that_makes_it_fit_is_a_chunked_loss():
    _, found = asked("llama-3.1-8b", 1, 8192, 22.49)
    assert not found["4-bit + LoRA"].fits and found["4-bit + LoRA"].remedies[0].startswith("a chunked loss: 11.4 GiB")


def test_a_shorter_sequence_that_is_named_fits_and_the_next_one_does_not():
    counted, found = asked("llama-3.1-8b", 1, 8192, 24.0)
    for method in ("LoRA", "4-bit + LoRA, prepared"):
        length = int(re.search(r"--length (\d+)", found[method].remedies[-1])[1])
        room = (24.0 - 1.5) * GIB
        assert budget(method, counted, 1, length, "bfloat16").total_recomputed <= room
        assert budget(method, counted, 1, length + 128, "bfloat16").total_recomputed > room


def test_a_smaller_batch_comes_before_a_shorter_sequence():
    _, found = asked("llama-3.1-8b", 4, 2048, 24.0)
    assert found["LoRA"].remedies[-1] == "--batch 1"


@pytest.mark.slow
def test_what_no_setting_makes_fit_has_no_remedy():
    _, found = asked("llama-3.1-70b", 1, 512, 24.0)
    assert all(not a.fits and a.remedies == () for a in found.values())


@given(st.integers(0, 300), st.integers(1, 300))
def test_the_largest_number_is_found_by_halving(limit, below):
    assert largest(lambda n: n <= limit, below) == min(limit, below - 1)


def test_minilora_is_asked_for_its_own_memory():
    counted = count(load("smollm2-135m"), "q_proj,v_proj", 8)
    found = {a.method: a for a in own_answers(counted, 8, 512, 4.0)}
    assert not found["full"].fits and found["full"].remedies[-1] == "--batch 2"
    assert own_budget("full", counted, 2, 512).total <= (4.0 - 0.25) * GIB < own_budget("full", counted, 3, 512).total


def test_a_base_in_4_bits_fits_where_one_in_float32_does_not():
    counted = count(load("llama-3.2-1b"), "q_proj,v_proj", 8)
    whole, small = (own_answers(counted, 1, 512, 4.5, quantize)[-1] for quantize in (None, "nf4"))
    assert (whole.method, whole.fits, small.method, small.fits) == ("LoRA", False, "LoRA", True)


def test_minilora_names_its_own_options_where_they_are_enough():
    counted = count(load("llama-3.2-1b"), "q_proj,v_proj", 8)
    found = {a.method: a for a in own_answers(counted, 1, 4096, 8.0)}
    assert not found["LoRA"].fits and re.fullmatch(r"--checkpointing: [\d.]+ GiB", found["LoRA"].remedies[0])
    assert own_budget("LoRA", counted, 1, 4096).recomputed.peak.bytes <= (8.0 - 0.25) * GIB
    assert all("attention" not in remedy for answer in found.values() for remedy in answer.remedies)


def test_both_options_of_minilora_are_named_where_one_is_not_enough():
    counted = count(load("qwen2.5-0.5b"), "q_proj,v_proj", 8)
    both = own_budget("full", counted, 4, 512, chunked=True).recomputed.peak.bytes / GIB
    found = {a.method: a for a in own_answers(counted, 4, 512, both + 0.3)}
    assert found["full"].remedies[0].startswith("--checkpointing --chunked-loss: ")
