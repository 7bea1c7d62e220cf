"""python -m benchmarks.serving, serving_traffic, serving_compare, serving_ways, serving_http, and soak."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("uvicorn")  # soak serves

from benchmarks import real, serving, serving_http, serving_traffic, serving_ways, soak
from minilora.adapters.mixed import loop


@pytest.mark.slow
def test_the_table_has_a_row_for_each_size():
    options = ["--sizes", "lesson", "--targets", "qv", "--rows", "4", "--repeats", "3"]
    result = CliRunner().invoke(serving.main, options)
    lines = result.output.splitlines()
    assert result.exit_code == 0, result.output
    assert lines[4].startswith("lesson") and len(lines[4].split()) == 14
    assert len(lines) == 6 and lines[5].startswith("load of an adapter (lesson, all-linear): ")


@pytest.mark.slow
def test_adapters_that_do_not_fit_are_read_again(tmp_path, capsys):
    serving.write_adapters(tmp_path, serving_traffic.model_of, "qv", 65)  # 64 are in memory
    serving_traffic.show_traffic(tmp_path, 65, "round-robin", requests=130, clients=1, tokens=2)
    adapters, kind, _, reads = capsys.readouterr().out.split()[:4]
    assert (adapters, kind, reads) == ("65", "round-robin", "130")


def test_an_unknown_size_is_refused_in_one_line():
    result = CliRunner().invoke(serving.main, ["--sizes", "huge"])
    assert result.exit_code == 2 and "no 'huge'; there are: lesson" in result.output


@pytest.mark.slow
def test_traffic_has_a_row_for_each_number_of_adapters_and_kind():
    options = ["--adapters", "1,3", "--traffic", "uniform,skewed", "--requests", "6", "--clients", "2", "--tokens", "3"]
    result = CliRunner().invoke(serving_traffic.main, options)
    assert result.exit_code == 0, result.output
    assert [line.split()[:2] for line in result.output.splitlines()[3:]] == [
        ["1", "uniform"], ["3", "uniform"], ["3", "skewed"],
    ]  # fmt: skip


@pytest.mark.slow
def test_traffic_whose_answers_are_too_short_has_no_row(tmp_path, monkeypatch):
    serving.write_adapters(tmp_path, serving_traffic.model_of, "qv", 1)
    monkeypatch.setattr(serving_traffic.Clients, "_ask", lambda self, *job: ([7], [0.0, 1.0]))
    with pytest.raises(serving_traffic.Refused, match="3 of 3 answers have not 4 tokens"):
        serving_traffic.show_traffic(tmp_path, 1, "uniform", requests=3, clients=2, tokens=4)


@pytest.mark.parametrize(
    ("command", "options", "said"),
    [
        (serving_http, ["--streams", "1,x"], "--streams: 'x' is not a whole number of at least 1"),
        (serving_traffic, ["--adapters", "0"], "--adapters: '0' is not a whole number of at least 1"),
        (soak, ["--seed", "-1"], "Invalid value for '--seed': -1 is not in the range x>=0."),
        (real, [".", "--rounds", "0"], "Invalid value for '--rounds': 0 is not in the range x>=1."),
    ],
)
def test_a_wrong_option_is_refused_in_one_line_before_anything_runs(command, options, said):
    result = CliRunner().invoke(command.main, options)
    assert result.exit_code == 2 and result.output == f"Error: {said}\n"


def test_skewed_traffic_asks_for_the_first_most_often():
    order = serving_traffic.order_of("skewed", 50, 1000).tolist()
    assert order.count(0) > 2 * order.count(2) > 2 * order.count(20)
    assert serving_traffic.order_of("round-robin", 3, 5).tolist() == [0, 1, 2, 0, 1]


@pytest.mark.slow
def test_the_check_finds_no_wrong_answer_and_would_find_one(tmp_path, capsys, monkeypatch):
    serving.write_adapters(tmp_path, serving_traffic.model_of, "qv", 4, 0.1)
    serving_traffic.show_check(tmp_path, 4, 12, clients=3)
    assert "12 requests over 4 adapters" in (said := capsys.readouterr().out) and " 0 wrong; 4 different" in said
    monkeypatch.setattr(serving_traffic.Clients, "_ask", lambda self, *job: ([7] * 8, [0.0]))
    serving_traffic.show_check(tmp_path, 4, 12, clients=3)
    assert " 12 wrong;" in capsys.readouterr().out


def test_padded_copies_add_what_the_loop_adds():
    rng = np.random.default_rng(0)
    A, B, s = rng.standard_normal((3, 2, 5)), rng.standard_normal((3, 2, 4)), np.array([1.0, 2.0, 3.0])
    x, y = rng.standard_normal((4, 1, 5)), rng.standard_normal((4, 1, 4))
    slots, one = np.array([2, 0, 1, 2]), y.copy()
    loop(one, x, slots, A, B, s)
    serving_ways.padded(y, x, slots, list(A), list(B), s, highest=3)
    assert np.allclose(one, y, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_loads_have_a_row_with_a_reader_and_one_without(capsys):
    serving_traffic.show_loads(clients=2, adapters=5, steps=40)
    alone, read = capsys.readouterr().out.splitlines()
    assert alone.startswith("a step of 2 rows alone") and "reads of" not in alone
    assert read.startswith("a step of 2 rows while adapters are read") and "reads of" in read


@pytest.mark.slow
def test_loads_end_when_a_step_fails(monkeypatch):
    def fails(engine, clients):
        raise FloatingPointError("a step")

    monkeypatch.setattr(serving_traffic, "one_step", fails)
    before = threading.active_count()
    with pytest.raises(FloatingPointError, match="a step"):
        serving_traffic.show_loads(clients=2, adapters=5, steps=40)
    assert threading.active_count() == before


def test_traffic_names_the_first_request_that_failed():
    clients = serving_traffic.Clients(None, 2)
    with pytest.raises(serving_traffic.Refused, match="3 of 3 requests failed: AttributeError: 'NoneType'"):
        clients.run([(0, None, 4)] * 3)


@pytest.mark.slow
def test_http_has_a_row_for_each_number_of_streams():
    result = CliRunner().invoke(serving_http.main, ["--streams", "1,2", "--tokens", "200", "--rounds", "1"])
    assert result.exit_code == 0, result.output
    assert [line.split()[:2] for line in result.output.splitlines()[1:]] == [["1", "1"], ["2", "2"], ["1", "2"]]


@pytest.mark.slow
def test_http_wants_answers_that_run_at_once(monkeypatch):
    monkeypatch.setattr(serving_http.subprocess, "run", lambda command, check: None)
    result = CliRunner().invoke(serving_http.main, ["--streams", "1", "--tokens", "10", "--rounds", "1"])
    assert result.exit_code == 2 and "expected more --tokens" in result.output


@pytest.mark.slow
def test_http_ends_with_one_line_when_its_clients_fail(monkeypatch):
    def fails(*given):
        raise OSError("no clients")

    monkeypatch.setattr(serving_http.Clock, "measure", fails)
    result = CliRunner().invoke(serving_http.main, ["--streams", "1", "--rounds", "1"])
    assert result.exit_code == 2 and result.output.endswith("Error: no clients\n")
    assert not [thread for thread in threading.enumerate() if thread.name == "engine"]


@pytest.mark.slow
def test_a_short_soak_ends_well():
    result = CliRunner().invoke(soak.main, ["--minutes", "0.15", "--clients", "4", "--adapters", "8"])
    assert result.exit_code == 0, result.output
    assert result.output.endswith("all was well\n")


@pytest.mark.parametrize("fault", [{"faults": ["/x was answered with 500"]}, {"answer": lambda model: None}])
def test_a_soak_names_the_fault_that_it_found(fault, monkeypatch):
    server = SimpleNamespace(faults=[], seen={}, memory=lambda: 1, answer=lambda model: model)
    server.fill_the_cache = lambda: None
    server.send = lambda *asked: (200, "vllm:num_requests_x 0\n" * 2)
    vars(server).update(fault)
    monkeypatch.setattr(soak, "ACTIONS", ("look",))
    server.look = lambda rng: None
    with pytest.raises(soak.Refused, match="answered with 500|answers changed"):
        soak.soak(server, 0.001, 1, 0)
