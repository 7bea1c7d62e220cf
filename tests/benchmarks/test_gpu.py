"""`python -m benchmarks.gpu` without a device: what it refuses, and how it goes on after a failure."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import device
from benchmarks.gpu.measurements import NAMES, Measurement, measurement_named

ROOT = Path(__file__).parents[2]
GOOD = "print('{\"figure\": 1}', flush=True)"  # a process that measures


def run(*arguments):
    return CliRunner().invoke(command.main, arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["stepp"], "no measurement 'stepp'; there are: step"), (["--smal"], "No such option"), (["--out", "."], "--out")],
)
def test_a_wrong_word_is_one_line(arguments, said):
    done = run(*arguments)
    assert done.exit_code == 2 and said in done.output and done.output.count("\n") == 1


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setattr(command, "LIBRARIES", ("sys", "no_such_library"))
    done = run()
    assert done.exit_code == 2 and done.output.startswith("Error: no_such_library not installed: pip install")


def test_without_a_device_the_command_is_one_line(monkeypatch):
    monkeypatch.setattr(command, "LIBRARIES", ())
    monkeypatch.setitem(sys.modules, "cupy", None)
    done = run()
    assert done.exit_code == 2 and "needs CuPy" in done.output and done.output.count("\n") == 1


@pytest.mark.reference
def test_a_torch_without_cuda_is_one_line(card, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(command, "LIBRARIES", ())
    monkeypatch.setattr(torch.version, "cuda", None)
    done = run()
    assert done.exit_code == 2 and "PyTorch is built without CUDA" in done.output and done.output.count("\n") == 1


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_a_measurement_with_cases_and_a_rehearsal_of_its_function(name):
    import inspect

    measurement = measurement_named(name)
    assert measurement.cases and measurement.small and measurement.head
    for case in measurement.cases + measurement.small:
        inspect.signature(measurement.measure).bind(**case)


@pytest.fixture
def processes(monkeypatch, tmp_path):
    """processes({"name": ["code of a process", ...]}) replaces the measurements: each case runs that code instead."""

    def replace(codes):
        found = {
            name: Measurement(None, f"head of {name}", lambda row: f"row {row['figure']}", [{}] * len(texts), [])
            for name, texts in codes.items()
        }
        monkeypatch.setattr(command, "LIBRARIES", ())
        monkeypatch.setattr(command, "NAMES", dict.fromkeys(codes))
        monkeypatch.setattr(command, "require_device", lambda: None)
        monkeypatch.setattr(command, "measurement_named", found.__getitem__)
        monkeypatch.setattr(command, "command_of", lambda name, case, small: [sys.executable, "-c", codes[name][case]])
        return tmp_path / "gpu.jsonl"

    return replace


def test_a_failure_is_said_and_the_rest_is_measured(processes):
    out = processes({"first": [GOOD, "print('{\"figure\": 2}'); raise SystemExit(3)", GOOD], "second": [GOOD]})
    done = run("--out", str(out))
    assert done.exit_code == 1
    assert done.output.split("\n") == [
        "", "first", "head of first", "row 1", "row 2", "first, case 1: failed with code 3", "row 1",
        "", "second", "head of second", "row 1", "Error: not measured in full: first", "",
    ]  # fmt: skip
    assert [json.loads(line)["figure"] for line in out.read_text().splitlines()] == [1, 2, 1, 1]


def test_rows_are_appended_and_other_output_is_printed(processes):
    out = processes({"only": ["print('a library says'); print('{\"figure\": 1}')"]})
    out.write_text('{"figure": 0}\n')
    done = run("only", "--out", str(out))
    assert done.exit_code == 0 and "a library says\nrow 1" in done.output
    assert out.read_text() == '{"figure": 0}\n{"figure": 1}\n'


def test_a_file_that_cannot_be_written_is_one_line_before_anything_is_measured(processes, tmp_path):
    processes({"only": [GOOD]})
    done = run("--out", str(tmp_path / "missing" / "gpu.jsonl"))
    assert done.exit_code == 2 and "No such file" in done.output and done.output.count("\n") == 1


def test_a_row_is_not_written_behind_the_half_of_another(processes):
    out = processes({"only": [GOOD]})
    out.write_text('{"figure": 0}\n{"fig')
    assert run("--out", str(out)).exit_code == 0
    assert out.read_text() == '{"figure": 0}\n{"fig\n{"figure": 1}\n'


def test_half_a_row_of_a_killed_process_is_printed_and_the_rest_is_measured(processes):
    out = processes({"only": ["import os; print('{\"fig', end='', flush=True); os._exit(9)", GOOD]})
    done = run("--out", str(out))
    assert done.exit_code == 1 and '{"fig\nonly, case 0: failed with code 9\nrow 1\n' in done.output
    assert out.read_text() == '{"figure": 1}\n'


def test_a_row_is_saved_before_it_is_printed(processes, monkeypatch):
    out = processes({"only": [GOOD]})
    monkeypatch.setattr("builtins.print", lambda *text, **options: "row 1" in text and sys.exit(7))
    assert run("--out", str(out)).exit_code == 7
    assert out.read_text() == '{"figure": 1}\n'


def test_the_end_of_the_command_ends_the_process_that_measures(processes, monkeypatch):
    processes({"only": [f"{GOOD}; import time; time.sleep(60)"]})
    monkeypatch.setattr(command, "show", lambda *given: (_ for _ in ()).throw(OSError("the disk is full")))
    began = time.perf_counter()
    done = run()
    assert done.exit_code == 2 and done.output.endswith("Error: the disk is full\n")
    assert time.perf_counter() - began < 30


def test_a_name_given_twice_is_measured_once(processes):
    processes({"only": [GOOD]})
    assert run("only", "only").output.count("row 1") == 1


@pytest.mark.reference
@pytest.mark.parametrize("name", NAMES)
def test_the_rehearsal_prints_a_row_a_line_which_the_table_shows(name, card, capsys, monkeypatch):
    pytest.importorskip("peft")
    monkeypatch.setattr(device.in_turns, "__defaults__", (1, 1, 1))  # fewer rounds: the figures are of no use here
    measurement = measurement_named(name)
    for case in range(len(measurement.small)):
        command.measure_here(name, True, case)
    lines = capsys.readouterr().out.splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    assert len(rows) >= len(measurement.small)
    for row in rows:
        assert row["what"] == name and row["small"] and row["card"] == "a stand-in"
        assert "nan" not in measurement.row(row)


@pytest.mark.reference
def test_the_whole_command_runs_with_the_stand_in_as_cupy(tmp_path):
    pytest.importorskip("peft")
    (tmp_path / "cupy.py").write_text("import fake_card, pytest\nfake_card.install(pytest.MonkeyPatch())\n")
    path = os.pathsep.join(map(str, (tmp_path, ROOT / "tests" / "support", ROOT)))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "generation", "--small", "--out", "rows.jsonl"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 2 and {row["card"] for row in rows} == {"a stand-in"}
    for row in rows:
        assert measurement_named("generation").row(row) in done.stdout
