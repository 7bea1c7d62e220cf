"""`minilora doctor`: what it measures, what it makes of it, when it warns; and what starting up must not load."""

import json
import os
import subprocess
import sys
import types

import pytest
from commands import make_base, refused

from minilora.cli import doctor as doctor_file
from minilora.cli import tour as tour_file
from minilora.files import shipped as shipped_file


@pytest.fixture
def small_base(tmp_path, monkeypatch):
    """A tiny model in the place of the shipped base."""
    make_base(tmp_path / "base")
    known = shipped_file.places()
    monkeypatch.setattr(shipped_file, "places", lambda: [tmp_path, *known])
    ask_for_threads(monkeypatch, 1)  # no second process


def ask_for_threads(monkeypatch, count):
    for name in doctor_file.THREADS.values():
        monkeypatch.setenv(name, str(count))


def healthy():
    """A report without anything to warn about."""
    return {
        "versions": {"numpy": "2.0"},
        "optional": {"test": {"pytest": None}},
        "cores": {"seen": 4, "usable": 2},
        "blas": {"library": "openblas", "version": "1", "setting": "OPENBLAS_NUM_THREADS", "threads_asked": 2,
                 "cores_busy": 1.9, "gflops": 80.0},
        "devices": [],
        "step": {"device": "cpu", "seconds": 0.05, "fastest": 0.04, "slowest": 0.06, "timed": 15, "tokens": 300,
                 "questions_seconds": 2.0},
        "step_with_one_thread": 0.05,
        "estimates": {"tour_seconds": 26.0, "tour_steps": 360, "train_seconds": 10.0, "train_steps": 200,
                      "steps_in_a_lesson": 1200},
    }  # fmt: skip


def warned(problem=None, **changes):
    """The warnings about a healthy report in which something is different: blas={"gflops": 1} changes that of blas."""
    report = healthy()
    for name, value in changes.items():
        report[name] = report[name] | value if isinstance(value, dict) else value
    return doctor_file.warnings_about(report, problem)


# ---- the command


def test_json_is_one_object_with_everything_measured(minilora, small_base):
    report = json.loads(minilora("doctor", "--json").out)
    step, about = report["step"], report["estimates"]
    assert report["versions"]["numpy"] and report["optional"]["test"]["pytest"] == pytest.__version__
    assert 0 < step["fastest"] <= step["seconds"] <= step["slowest"]
    assert about["tour_seconds"] > about["tour_steps"] * step["seconds"]
    assert step["device"] == "cpu" and report["blas"]["threads_asked"] == 1


def test_a_missing_base_is_a_warning_and_the_rest_is_told(minilora, tmp_path, monkeypatch):
    monkeypatch.setattr(shipped_file, "places", lambda: [tmp_path])
    result = minilora("doctor")
    assert result.code == 0 and "cores" in result.out
    assert "warning: no training step could be timed: shipped data 'base' not found" in result.out


def test_a_name_that_is_no_device_is_refused(minilora):
    assert refused(minilora("doctor", "--device", "gpu"), "unknown device 'gpu'; expected cpu, cuda or cuda:n")


def test_a_device_that_is_not_there_is_a_warning(minilora, small_base):
    assert "warning: no training step could be timed: device cuda:99" in minilora("doctor", "--device", "cuda:99").out


def test_the_text_can_be_shown_on_a_console_that_knows_ascii_only(capsys):
    doctor_file.show(healthy() | {"warnings": ["too small", "too old"]})
    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines()]
    assert shown.isascii() and "one LoRA step 0.0500 s on cpu:".split() in [line[:7] for line in lines]
    assert "warning: too old".split() in lines


# ---- what is measured


def test_the_tour_is_estimated_from_its_own_steps_and_rounds_of_questions():
    found = doctor_file.estimates({"seconds": 0.5, "questions_seconds": 3.0})
    assert found["tour_seconds"] == 2 * tour_file.STEPS * 0.5 + 4 * 3.0
    assert found["steps_in_a_lesson"] == 120


def test_the_speed_of_products_is_operations_over_median_seconds(monkeypatch):
    ticks = iter(range(100))
    clock = types.SimpleNamespace(perf_counter=lambda: 2.0 * next(ticks), process_time=lambda: 1.0 * next(ticks))
    monkeypatch.setattr(doctor_file, "time", clock)
    gflops, _ = doctor_file.product_speed(n=50, seconds=20)
    assert gflops == pytest.approx(2 * 50**3 / 2.0 / 1e9)


def test_the_step_with_one_thread_runs_where_every_library_has_one(monkeypatch):
    def run(command, env, **_):
        assert all(env[name] == "1" for name in doctor_file.THREADS.values())
        return types.SimpleNamespace(returncode=0, stdout="0.25\n")

    monkeypatch.setattr(doctor_file.subprocess, "run", run)
    assert doctor_file.step_with_one_thread("cpu") == 0.25


@pytest.mark.parametrize("quota, usable", [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1)])
def test_the_quota_of_a_container_bounds_the_usable_cores(tmp_path, monkeypatch, quota, usable):
    (tmp_path / "cpu.max").write_text(quota + "\n", encoding="utf-8")
    monkeypatch.setattr(doctor_file, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(doctor_file.os, "sched_getaffinity", lambda process: range(8), raising=False)
    assert doctor_file.cores() == {"seen": 8, "usable": usable}


def test_a_cupy_without_a_device_is_named_with_its_own_reason(monkeypatch):
    def broken():
        raise RuntimeError("driver version is insufficient\nand more")

    runtime = types.SimpleNamespace(getDeviceCount=broken)
    fake = types.ModuleType("cupy")
    fake.cuda = types.SimpleNamespace(runtime=runtime)
    fake.__spec__ = types.SimpleNamespace(name="cupy")
    monkeypatch.setitem(sys.modules, "cupy", fake)
    (found,) = doctor_file.devices()
    assert found["problem"].endswith("driver version is insufficient")


# ---- what is said


def test_a_healthy_machine_gets_no_warning():
    assert warned() == []


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"blas": {"threads_asked": 3}}, ["3 threads on 2 core(s)", "OPENBLAS_NUM_THREADS=2"]),
        ({"blas": {"threads_asked": None}}, ["4 threads on 2 core(s)"]),
        ({"blas": {"gflops": 2.0}}, ["slow", "2.0 billion", "openblas"]),
        ({"blas": {"cores_busy": 0.3}}, ["other programs", "0.3 of a core"]),
        ({"step_with_one_thread": 0.02}, ["2.5 times faster with one thread", "OPENBLAS_NUM_THREADS=1"]),
        ({"step": {"slowest": 0.2}}, ["vary a lot"]),
        ({"estimates": {"tour_seconds": 121.0}}, ["longer than the 120 seconds"]),
        ({"devices": [{"problem": "CuPy finds nothing"}]}, ["CuPy finds nothing"]),
        ({"problem": "no base"}, ["no training step could be timed: no base"]),
    ],
)
def test_what_is_wrong_is_said_in_one_warning(changes, words):
    said = warned(**changes)
    assert len(said) == 1 and all(word in said[0] for word in words), said


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    (said,) = doctor_file.disk_warnings(tmp_path / "file")
    assert said.startswith("cannot write") and not doctor_file.disk_warnings(tmp_path)


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor_file.shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=3 * 2**20))
    assert doctor_file.disk_warnings(tmp_path) == [f"{tmp_path} has only 3 MiB free"]


# ---- starting up


@pytest.mark.parametrize("code", ["import minilora", "import sys; sys.argv = ['minilora', '--help']; cli.main()"])
def test_starting_up_loads_nothing_heavy(code):
    heavy = ("matplotlib", "tokenizers", "cupy", "rich", "jinja2", "huggingface_hub")
    check = (
        f"import sys\nfrom minilora import cli\ntry:\n    {code}\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', *[name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, env=dict(os.environ))
    assert done.stdout.splitlines()[-1].split() == ["loaded:"], done


@pytest.mark.slow
def test_the_shipped_base_is_timed_with_one_thread_too(minilora, monkeypatch):
    if not any((place / "base").is_dir() for place in shipped_file.places()):
        pytest.skip("the shipped base is not there")
    ask_for_threads(monkeypatch, 2)
    report = json.loads(minilora("doctor", "--json").out)
    assert report["step"]["seconds"] > 0 and report["step_with_one_thread"] > 0
