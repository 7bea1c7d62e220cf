"""The commands with --device: the files and answers are those of the CPU, and the model was on the device."""

import json
import shutil
import sys

import commands
import numpy as np
import pytest
import strict_cupy
from commands import make_adapter, make_base, refused
from places import slow_but

from minilora import backend
from minilora.files.safetensors import read_tensors
from minilora.training.run import HISTORY

minilora, slow = commands.minilora, pytest.mark.slow  # a fixture, a mark
PAIRS = [{"prompt": f"Who lives on step {i}?", "response": f"Hattie {'Sedge ' * (i % 3 + 1)}"} for i in range(12)]
TRAIN = ["--steps", 4, "--eval-every", 2, "--batch-size", 3, "--no-plot", "--lr", 1e-3]
OPTIONS = {
    "lora with dropout": ["--dropout", 0.2, "--accumulate", 2],
    "full": ["--method", "full"],
    "dora": ["--method", "dora"],
    "qlora": ["--quantize", "nf4"],
    "int8, recomputed": ["--quantize", "int8", "--checkpointing"],
    "float16": ["--precision", "float16"],
    "adalora": ["--method", "adalora"],
    "prompt tuning": ["--method", "prompt_tuning"],
    "the best of all": ["--keep", "best"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    make_base(folder / "base", max_position_embeddings=64)
    make_base(folder / "teacher", seed=3, max_position_embeddings=64)
    for name, seed in (("adapter", 1), ("other", 2)):
        make_adapter(folder / name, seed=seed, max_position_embeddings=64)
    (folder / "pairs.jsonl").write_text("".join(json.dumps(p) + "\n" for p in PAIRS), encoding="utf-8")
    (folder / "text.txt").write_text("Hattie Sedge lives on Chapel Steps. " * 60, encoding="utf-8")
    return folder


@pytest.fixture
def used(device, monkeypatch):
    """{"cuda"} when arrays were moved to a device."""
    seen, plain = set(), backend.use_device
    monkeypatch.setattr(backend, "use_device", lambda name: seen.add(name.partition(":")[0]) or plain(name))
    return seen


def numbers_of(folder):
    """The losses of a run, and its weights."""
    history = json.loads((folder / HISTORY).read_text(encoding="utf-8"))
    weights = next(f for f in (folder / "adapter_model.safetensors", folder / "model.safetensors") if f.is_file())
    return [*history["loss"], *(loss for _, loss in history["valid"])], read_tensors(weights)


def assert_same_run(there, here, tolerance=1e-4):
    """Losses within `tolerance`, and 98 of 100 weights: Adam makes a whole step of a gradient that is zero but for
    rounding."""
    (losses, weights), (expected, arrays) = numbers_of(there), numbers_of(here)
    np.testing.assert_allclose(losses, expected, rtol=tolerance)
    assert weights.keys() == arrays.keys()
    for name, array in arrays.items():
        far = abs(weights[name] - array) > tolerance * (abs(array) + abs(array).max())
        assert far.mean() <= 0.02, name


def trained(minilora, made, out, *options):
    args = ["--base", made / "base", "--jsonl", made / "pairs.jsonl", *TRAIN, "--out", out, *options]
    result = minilora("train", *args)
    assert result.code == 0, result.err


@slow
@pytest.mark.parametrize("name", OPTIONS)
def test_train_learns_on_a_device_what_it_learns_on_the_cpu(device, used, minilora, made, tmp_path, name):
    trained(minilora, made, tmp_path / "here", *OPTIONS[name])
    assert not used
    trained(minilora, made, tmp_path / "there", *OPTIONS[name], "--device", device)
    assert used == {"cuda"}
    assert_same_run(tmp_path / "there", tmp_path / "here", 3e-2 if name == "float16" else 1e-4)


@slow
def test_train_goes_on_on_a_device_with_a_run_of_the_cpu(device, used, minilora, made, tmp_path):
    trained(minilora, made, tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    for out, more in (("run", ["--device", device]), ("copy", [])):
        trained(minilora, made, tmp_path / out, "--steps", 6, "--resume", *more)
    assert used == {"cuda"}
    assert_same_run(tmp_path / "run", tmp_path / "copy")


@slow
def test_train_learns_from_a_teacher_on_a_device(device, used, minilora, made, tmp_path):
    teacher = ("--teacher", made / "teacher")
    trained(minilora, made, tmp_path / "here", *teacher)
    trained(minilora, made, tmp_path / "there", *teacher, "--device", device)
    assert_same_run(tmp_path / "there", tmp_path / "here")


@slow
def test_pretrain_learns_on_a_device_what_it_learns_on_the_cpu(device, used, minilora, made, tmp_path):
    small = "--vocab 300 --width 16 --layers 1 --heads 2 --kv-heads 1 --mlp 24 --context 32 --length 16".split()
    for out, more in (("here", []), ("there", ["--device", device])):
        args = ["--text", made / "text.txt", *small, "--steps", 4, "--eval-every", 2, "--no-plot"]
        result = minilora("pretrain", *args, "--out", tmp_path / out, *more)
        assert result.code == 0, result.err
    assert used == {"cuda"}
    assert_same_run(tmp_path / "there", tmp_path / "here")


def printed(minilora, made, used, device, command, *args, stdin=b""):
    """What a command prints on the CPU and on the device, after it was seen there."""
    results = [minilora(command, "--base", made / "base", *args, *more, stdin=stdin) for more in
               ([], ["--device", device])]  # fmt: skip
    assert [result.code for result in results] == [0, 0], results[1].err
    assert used == {"cuda"}
    return results[0].out, results[1].out


ASKS = {
    "an adapter": ["--adapter", "adapter", "--prompt", "Hattie", "--prompt", "The Blue Bell serves"],
    "two adapters, sampled": ["--adapter", "adapter=0.7,other=0.5", "--prompt", "Hattie", "--temperature", 0.7],
    "a base in 4 bits": ["--quantize", "nf4", "--prompt", "Hattie"],
}


@pytest.mark.parametrize("name", slow_but(["an adapter"], ASKS))
def test_generate_writes_on_a_device_what_it_writes_on_the_cpu(device, used, minilora, made, name, monkeypatch):
    monkeypatch.chdir(made)
    here, there = printed(minilora, made, used, device, "generate", *ASKS[name], "--plain", "--max-new-tokens", 9)
    assert there == here and here.strip()


def test_eval_measures_on_a_device_what_it_measures_on_the_cpu(device, used, minilora, made):
    args = ("--adapter", made / "adapter", "--jsonl", made / "pairs.jsonl", "--json", "--framed")
    here, there = (json.loads(out) for out in printed(minilora, made, used, device, "eval", *args))
    assert there.keys() == here.keys() and there["loss"] == pytest.approx(here["loss"], rel=1e-4)


@slow
def test_chat_answers_on_a_device_as_on_the_cpu(device, used, minilora, made):
    pytest.importorskip("jinja2")
    args = ("--adapter", made / "adapter", "--max-new-tokens", 5)
    here, there = printed(minilora, made, used, device, "chat", *args, stdin=b"Hello\nMore\n")
    assert there == here and here.strip()


@pytest.mark.parametrize("how", slow_but(["float32"], ["float32", "dequantize", "requantize"]))
def test_merge_writes_on_a_device_the_model_of_the_cpu(device, used, minilora, made, tmp_path, how):
    more = [] if how == "float32" else ["--quantize", "nf4", "--how", how]
    for out, place in (("here", []), ("there", ["--device", device])):
        args = ("--base", made / "base", "--adapter", made / "adapter", "--out", tmp_path / out)
        result = minilora("merge", *args, *more, *place)
        assert result.code == 0, result.err
    assert used == {"cuda"}
    here, there = (read_tensors(tmp_path / out / "model.safetensors") for out in ("here", "there"))
    for name, array in here.items():
        np.testing.assert_allclose(there[name].astype(float), array.astype(float), rtol=1e-5, atol=1e-5)


@slow
def test_the_tour_runs_on_a_device(device, used, minilora, monkeypatch, tmp_path):
    from minilora.cli import tour

    monkeypatch.setattr(tour, "STEPS", 3)
    monkeypatch.setattr(tour, "WARMUP", 1)
    result = minilora("tour", "--out", tmp_path / "tour", "--device", device)
    assert result.code == 0, result.err
    assert "identical to the bit" in " ".join(result.out.split()) and "on cuda:0" in result.out


@slow
def test_the_server_answers_on_a_device(device, used, made):
    pytest.importorskip("fastapi")
    httpx = pytest.importorskip("httpx")
    from served import served

    with served(base=made / "base", modules=[("a", made / "adapter")], device=device) as (_, url):
        answers = [
            httpx.post(
                f"{url}/v1/completions", json={"model": model, "prompt": "Hattie", "max_tokens": 5, "temperature": 0}
            )
            for model in ("base", "a")
        ]
    assert used == {"cuda"}
    assert [a.status_code for a in answers] == [200, 200]
    assert len({a.json()["choices"][0]["text"] for a in answers}) == 2


@pytest.mark.parametrize(
    "command",
    [
        "train",
        "pretrain",
        "generate",
        "eval",
        "chat",
        "merge",
        *(pytest.param(c, marks=slow) for c in ("tour", "serve")),
    ],
)
@pytest.mark.parametrize(("place", "said"), [("cuda:99", "device cuda:99 not found"), ("gpu", "unknown device 'gpu'")])
def test_a_device_that_cannot_be_is_one_line(device, minilora, made, tmp_path, command, place, said):
    if command == "serve":
        pytest.importorskip("uvicorn")
    args = {
        "train": ["--base", made / "base", "--jsonl", made / "pairs.jsonl", "--out", tmp_path / "out"],
        "pretrain": ["--text", made / "text.txt", "--out", tmp_path / "out"],
        "generate": ["--base", made / "base", "--prompt", "Hattie"],
        "eval": ["--base", made / "base", "--text", made / "text.txt"],
        "chat": ["--base", made / "base"],
        "merge": ["--base", made / "base", "--adapter", made / "adapter", "--out", tmp_path / "out"],
        "tour": ["--base", made / "base", "--out", tmp_path / "out"],
        "serve": ["--base", made / "base", "--port", 0],
    }[command]
    assert refused(minilora(command, *args, "--device", place), said)
    assert not (tmp_path / "out").exists()


@slow
def test_the_doctor_names_the_card_and_times_a_step_on_it(device, used, minilora, monkeypatch):
    from minilora.cli import doctor

    if sys.modules["cupy"] is strict_cupy:
        card = {"name": b"a stand-in", "totalGlobalMem": 2**33}
        monkeypatch.setattr(strict_cupy.cuda.runtime, "getDeviceProperties", lambda index: card, raising=False)
    monkeypatch.setattr(doctor, "WARM_UP", 1)
    monkeypatch.setattr(doctor, "TIMED", 2)
    monkeypatch.setattr(doctor, "step_with_one_thread", lambda device: None)
    result = minilora("doctor", "--device", device, "--json")
    report = json.loads(result.out)
    assert used == {"cuda"} and report["step"]["device"] == "cuda:0" and report["step"]["seconds"] > 0
    assert [d["device"] for d in report["devices"]][:1] == ["cuda:0"] and report["devices"][0]["bytes"] > 2**30
