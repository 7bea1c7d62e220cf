"""The committed results of `benchmarks.combining`, and the page that shows them."""

import json
from pathlib import Path

import pytest

from benchmarks.combining import (
    RATES,
    RULES,
    TUNING_SEED,
    best_choice,
    choices,
    key,
    page_with_tables,
    results,
    rows_of,
)

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "benchmarks" / "COMBINING.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def store():
    return results()


def test_the_tables_of_the_page_are_those_of_the_results(store):
    assert page_with_tables(PAGE, store) == PAGE
    assert PAGE.count("\n\n|") == 3


def test_every_seed_has_every_row(store):
    seeds = store.made_by["seeds"]
    assert all(store.find(row) for seed in seeds for row in rows_of(seed, store))
    assert {row["seed"] for row in store.rows} == {*seeds, TUNING_SEED}


def test_each_weight_and_density_is_the_one_with_the_lowest_validation_loss(store):
    for rule in RULES:
        rows = [
            store.find(key(rule.of, rule.label, TUNING_SEED, weight=w, density=d, tuning=True))
            for w, d in choices(rule)
        ]
        best = min(rows, key=lambda row: row["valid_loss"])
        assert best_choice(rule, store) == (best["weight"], best["density"])


def test_the_learning_rates_are_those_of_the_experiment_that_chose_them():
    found = json.loads((ROOT / "benchmarks" / "results" / "against-full.json").read_text(encoding="utf-8"))["rows"]
    for task, rates in RATES.items():
        for targets, rate in zip(("all", "full"), rates, strict=True):
            assert {r["lr"] for r in found if (r["task"], r["targets"], r["tuning"]) == (task, targets, False)} == {
                rate
            }
