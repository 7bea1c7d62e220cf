"""The model of a step on many workers, and its page: hand-made numbers with the right values."""

import json
from pathlib import Path

import pytest

from benchmarks import parallel
from benchmarks.network import Network, Step, network_of, on_gpus, step_of
from benchmarks.paper import with_table
from minilora.counting.architectures.catalog import load
from minilora.counting.count import count

ROAD = Network("road", latency=0.5, bandwidth=100.0)


@pytest.mark.parametrize("workers, seconds", [(1, 0), (2, 2 * 0.5 + 8), (4, 4 * 0.5 + 12), (5, 6 * 0.5 + 12.8)])
def test_a_sum_takes_two_turns_for_each_doubling_and_sends_the_array_not_quite_twice(workers, seconds):
    assert ROAD.sum_seconds(workers, 800) == pytest.approx(seconds)


def test_a_step_is_what_all_do_again_and_the_rows_of_one_worker_and_the_sum():
    step = Step(fixed=3.0, row=2.0, bytes=800)
    assert step.seconds(1, 10, ROAD) == 3 + 20
    assert step.seconds(4, 10, ROAD) == 3 + 2 * 3 + 14  # three rows: the last worker has one
    assert step.speed_up(4, 10, ROAD) == 23 / 23


def test_the_most_workers_are_the_last_that_spend_half_their_time_well():
    free = Network("free", 0.0, float("inf"))
    assert Step(0.0, 1.0, 8).most_workers(64, free) == 64  # never more than rows
    assert Step(1.0, 1.0, 8).most_workers(64, free) == 64  # 65 / (64 * 2) is half
    assert Step(2.0, 1.0, 8).most_workers(64, free) == 32
    assert Step(0.0, 1.0, 800).most_workers(64, ROAD) == 4  # 64 / (4 * (16 + 14)) = 0.53; with 8: 64 / (8 * 25)


def test_the_network_of_a_machine_gives_back_the_sums_that_showed_it():
    sums = {8: ROAD.sum_seconds(4, 8), 10**6: ROAD.sum_seconds(4, 10**6)}
    found = network_of(sums, 4)
    assert found.latency == pytest.approx(ROAD.latency, rel=0.1)  # the smallest array is not empty
    assert found.bandwidth == pytest.approx(ROAD.bandwidth, rel=1e-4)


def test_a_step_is_a_line_through_few_and_many_rows():
    assert step_of({2: 7.0, 8: 19.0}, 5) == Step(3.0, 2.0, 5)


def test_an_adapter_needs_two_thirds_of_the_operations_of_all_weights():
    full, lora = on_gpus(1000, 1000, 10, 2), on_gpus(1000, 10, 10, 4)
    assert lora.row / full.row == pytest.approx(4 / 6) and (full.bytes, lora.bytes) == (2000, 40)


def test_the_parameters_of_the_large_model_and_of_its_adapter_are_those_that_are_counted():
    counted = count(load("llama-2-7b"), "all-linear", 16)
    assert parallel.LLAMA == (counted.base, counted.trainable)


# ---- the committed result


@pytest.fixture(scope="module")
def store():
    return parallel.results()


def test_the_page_has_the_tables_of_the_committed_rows(store):
    page = parallel.PAGE.read_text(encoding="utf-8")
    for name, table in parallel.TABLES.items():
        assert with_table(page, name, table(store) + "\n") == page


def test_the_bytes_of_a_step_are_those_of_what_is_trained_and_of_four_numbers(store):
    steps = [row for row in store.rows if row["what"] == "step" and row["workers"] > 1]
    assert len(steps) == 2 * len(parallel.WIDTHS) * len(parallel.METHODS)
    assert all(row["bytes"] == 4 * (row["trained"] + 4) for row in steps)


def test_rows_take_the_cpu_time_alone_that_they_take_beside_other_workers(store):
    for width in parallel.WIDTHS:
        for method in parallel.METHODS:
            for workers in parallel.WORKERS[1:]:
                alone, together = parallel.company(store, width, method, workers)
                assert together == pytest.approx(alone, rel=0.35 if width == "128" else 0.15)


def test_no_measured_step_is_faster_than_the_model_expects(store):
    for width in parallel.WIDTHS:
        for method in parallel.METHODS:
            for workers in parallel.WORKERS[1:]:
                found = parallel.step_row(store, width, method, workers)["seconds"]
                assert found > 0.9 * parallel.expected(store, width, method, workers)


def test_lora_scales_to_more_workers_than_full_fine_tuning(store):
    for _, steps, network in parallel.cases(store):
        most = {method: step.most_workers(parallel.BATCH, network) for method, step in steps.items()}
        assert most["lora"] >= 4 * most["full"] > 4


def test_the_result_file_has_every_case_once():
    path = Path(parallel.HERE) / "results" / "parallel.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert len(rows) == 2 + len(parallel.WIDTHS) * len(parallel.METHODS) * (5 + 2)
