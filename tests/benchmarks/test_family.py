"""The experiments about LoRA's relatives: what their runs train, and what is measured without a training."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.error_cut import cuts, loftq_error, nf4, pissa_error
from benchmarks.family_experiments import FAMILY, LADDER, around, equal_budget, lora_plus
from benchmarks.family_runs import FamilyRun
from benchmarks.runs import build, measure, parameters, tokenizer, training_examples

RUN = FamilyRun("style-json", "q,v", 4, 1e-2, steps=4, batch=2)


def adapter(run):
    return build(run).base_model.adapters["default"]


def test_the_neighbours_of_a_learning_rate_are_taken_from_the_ladder():
    assert around(1e-2) == (5e-3, 1e-2, 2e-2)
    assert around(1e-2, below=2, above=0) == (2e-3, 5e-3, 1e-2)
    assert list(LADDER) == sorted(LADDER)


def test_no_method_of_the_equal_budget_is_further_from_it_than_a_seventh():
    counts = [parameters(setting.run) for setting in equal_budget()]
    assert len({setting.run.method for setting in equal_budget()}) == 10
    assert all(abs(count / 1792 - 1) <= 1 / 7 + 1e-9 for count in counts)


def test_adalora_counts_the_triplets_that_are_left():
    run = replace(RUN, method="adalora", init_r=6)
    assert parameters(run) == parameters(replace(RUN, init_r=0)) + 8 * 4  # 8 matrices have 4 numbers E beside A and B
    assert all(m.E.shape == (6, 1) for m in adapter(run).methods.values())


@pytest.mark.slow
def test_a_run_of_adalora_says_how_many_triplets_each_matrix_has_left():
    found = measure(replace(RUN, method="adalora", init_r=6))["ranks"]
    assert len(found) == 8 and "0.self_attn.q_proj" in found
    assert 0 < sum(found.values()) <= 8 * 4


@pytest.mark.parametrize("a, b", [(1e-3, 1e-3), (1e-3, 6.4e-2)])
def test_the_map_of_lora_plus_trains_a_and_b_at_its_two_rates(a, b):
    run = next(s.run for s in lora_plus() if s.rates == (a,) and s.x == b)
    groups = replace(run, lr=a).groups(build(run))
    assert {round(group["lr"], 9) for group in groups} == {a, b}


def test_the_map_of_lora_plus_has_each_pair_of_rates_once():
    pairs = [(s.rates[0], s.x) for s in lora_plus()]
    assert len(pairs) == len(set(pairs)) == 16


def test_a_prefix_starts_from_the_first_training_examples():
    ids = replace(RUN, method="prefix_tuning", start="text").first_tokens()
    first = training_examples(RUN)[0]
    assert len(ids) == 4 and tokenizer().decode(ids) in f"{first['prompt']}\n{first['response']}"


def test_each_start_of_a_prefix_is_another():
    starts = ("text", "random tokens", "zero", "random")
    prompts = [adapter(replace(RUN, method="prefix_tuning", start=s)).prompt.data for s in starts]
    assert not prompts[2].any()
    assert all(abs(prompts[i] - prompts[j]).max() > 0.1 for i in range(4) for j in range(i))


def test_random_tokens_depend_on_the_seed_and_a_text_does_not():
    tokens, text = (replace(RUN, method="prefix_tuning", start=s) for s in ("random tokens", "text"))
    assert not np.array_equal(tokens.first_tokens(), replace(tokens, seed=1).first_tokens())
    assert np.array_equal(text.first_tokens(), replace(text, seed=1).first_tokens())


# ---- the error of 4 bits


def test_a_matrix_of_low_rank_keeps_no_error_when_pissa_has_that_rank():
    rng = np.random.default_rng(0)
    W = rng.standard_normal((32, 3)) @ rng.standard_normal((3, 24))
    assert pissa_error(W, 3) < 1e-3 * pissa_error(W, 1)


def test_loftq_of_full_rank_has_no_error():
    W = np.random.default_rng(0).standard_normal((16, 8))
    assert loftq_error(W, 8, 1) == pytest.approx(0, abs=1e-9)


def test_loftq_once_takes_away_the_largest_singular_values_of_the_error():
    W = np.random.default_rng(0).standard_normal((16, 8))
    S = np.linalg.svd(W - nf4(W), compute_uv=False)
    assert loftq_error(W, 3, 1) == pytest.approx(S[3:].sum())


def test_cuts_are_percent_of_the_error_without_an_adapter():
    rng = np.random.default_rng(0)
    W = rng.standard_normal((32, 24))
    S = np.linalg.svd(W - nf4(W), compute_uv=False)
    assert cuts(W, 2, rng)["loftq1"] == pytest.approx(100 * S[:2].sum() / S.sum(), abs=1e-3)


@pytest.mark.parametrize("name", FAMILY)
def test_no_two_settings_are_the_same(name):
    settings = FAMILY[name]()
    assert len({(setting.run, setting.rates) for setting in settings}) == len(settings)
