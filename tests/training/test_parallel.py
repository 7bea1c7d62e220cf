"""Several workers compute what one computes; they stop, fail and save together.

support/workers.py runs once with 1, 2 and 4 workers; each test looks at a part of what they computed.
"""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import strict_cupy
import workers
from checkpoints import read_npz
from cli_training import SMALL
from commands import make_base
from fake_mpi import Comm, fake_mpi
from training_cases import endless, fresh

from minilora.backend import to_host
from minilora.files.safetensors import read_tensors
from minilora.training.loop import train
from minilora.training.parallel import ALONE, TAIL, MpiWorkers, NcclWorkers

HERE = Path(sys.executable).parent
MPIEXEC = shutil.which("mpiexec", path=f"{HERE}{os.pathsep}{os.environ.get('PATH', '')}")
SUPPORT = Path(__file__).parents[1] / "support"
needs_mpi = [
    pytest.mark.slow,
    pytest.mark.skipif(
        MPIEXEC is None or importlib.util.find_spec("mpi4py") is None,
        reason="needs mpiexec and mpi4py: pip install '.[parallel]'",
    ),
]
mpi = lambda test: needs_mpi[0](needs_mpi[1](test))  # noqa: E731


def start(count, *args, **environment):
    """The processes of `mpiexec -n count python ARGS`."""
    command = [MPIEXEC, "-n", str(count), sys.executable, *map(str, args)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"} | environment
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finish(process, limit=120):  # -> exit code, stdout, stderr
    out, err = process.communicate(timeout=limit)
    return process.returncode, out, err


def errors_in(err):
    return [line for line in err.splitlines() if line.startswith("error: ")]


# ---- the numbers


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("parallel") / "base", spread=1)


@pytest.fixture(scope="module")
def alone(base):
    return workers.measures(base)


@pytest.fixture(scope="module")
def several(base, tmp_path_factory):
    """several[n]: what n workers computed."""
    found = {}
    for count in (1, 2, 4):
        out = tmp_path_factory.mktemp("workers") / "out.npz"
        code, _, err = finish(start(count, SUPPORT / "workers.py", out, base))
        assert code == 0, err
        found[count] = read_npz(out)
    return found


@mpi
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("name", workers.BATCHES)
def test_the_gradients_and_the_loss_are_those_of_the_joined_batch(alone, several, count, name):
    ours, theirs = several[count][f"gradients/{name}"], alone[f"gradients/{name}"]
    assert several[count]["size"] == count and abs(theirs).max() > 0.1
    assert abs(ours - theirs).max() <= 1e-12


@mpi
@pytest.mark.parametrize("count", [2, 4])
def test_a_mean_of_the_workers_means_would_be_another_gradient(alone, several, count):
    right = alone["gradients/uneven labels"][:-1]
    assert abs(several[count]["mean of means"] - right).max() > 0.1 * abs(right).max()
    assert np.array_equal(several[1]["mean of means"], right)


@mpi
@pytest.mark.parametrize("name", workers.WAYS)
def test_one_worker_computes_the_bits_of_a_training_without_mpi(alone, several, name):
    assert several[1]["size"] == 1 and len(alone[f"loss/{name}"]) == workers.STEPS
    for what in ("weights", "state", "loss", "penalty", "valid"):
        assert np.array_equal(several[1][f"{what}/{name}"], alone[f"{what}/{name}"])


@mpi
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("name", workers.WAYS)
def test_after_twenty_steps_the_weights_and_losses_are_those_of_one_process(alone, several, count, name):
    for what in ("weights", "loss", "valid"):
        np.testing.assert_allclose(several[count][f"{what}/{name}"], alone[f"{what}/{name}"], rtol=0, atol=1e-4)
    assert alone[f"norm/{name}"].min() > 1e-3  # it was learning


@mpi
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("name", workers.WAYS)
def test_every_worker_has_the_same_weights_and_state_to_the_bit(several, count, name):
    digests = several[count][f"digests/{name}"]
    assert len(digests) == count and len(set(digests)) == 1


@mpi
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("name", workers.WAYS)
def test_the_frozen_base_is_unchanged_on_every_worker(alone, several, count, name):
    assert set(several[count][f"base/{name}"]) == set(alone[f"base/{name}"])


@mpi
@pytest.mark.parametrize("count", [2, 4])
def test_the_orthogonality_term_of_adalora_counts_once_a_step_and_its_scores_are_those_of_one_process(
    alone, several, count
):
    np.testing.assert_allclose(several[count]["penalty/adalora"], alone["penalty/adalora"], rtol=1e-5)
    np.testing.assert_allclose(several[count]["state/adalora"], alone["state/adalora"], atol=1e-5)
    assert alone["state/adalora"].size > 3_000


@mpi
@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_step_sends_the_bytes_of_what_is_trained_and_of_four_numbers(several, count):
    found = several[count]
    assert found["bytes of a step"] == 8 * (len(found["gradients/uneven labels"]) - 1 + TAIL)  # float64
    for name in ("lora", "full"):
        steps = workers.STEPS * 4 * (found[f"weights/{name}"].size + TAIL)
        assert steps <= found[f"bytes/{name}"] < steps + 300  # three evaluations, and what is compared at the start


@mpi
@pytest.mark.parametrize("count", [1, 2, 4])
def test_every_worker_gets_the_numbers_of_all(several, count):
    assert several[count]["gathered"].tolist() == [10.0 + rank for rank in range(count)]


@mpi
@pytest.mark.parametrize("count", [2, 4])
def test_dropout_is_another_on_every_worker_and_worker_0_has_that_of_one_process(alone, several, count):
    draws = several[count]["dropout"].tolist()
    assert len(set(draws)) == count and draws[0] == alone["dropout"][0]


# ---- the command


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    file = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    file.write_text("".join(json.dumps(pair) + "\n" for pair in workers.PAIRS), encoding="utf-8")
    return file


@pytest.fixture
def mpi_train(tmp_path, base, rows):
    """mpi_train(2, "--steps", 9): the processes of mpiexec; their ids are in pids/<rank>.pid."""
    (tmp_path / "pids").mkdir()

    def run(count, *options, file=rows, out=tmp_path / "out", **environment):
        settings = ["--base", base, "--lr", "1e-3", "--schedule", "constant", "--no-plot", "--eval-every", 3]
        where = [tmp_path / "pids", "train", file, "--out", out]
        return start(count, SUPPORT / "worker_command.py", *where, *settings, *options, **environment)

    return run


def weights(folder):
    return read_tensors(folder / "adapter_model.safetensors")


def wait_for(path, limit=60):
    deadline = time.monotonic() + limit
    while not path.is_file():
        assert time.monotonic() < deadline, path
        time.sleep(0.05)


def signal_worker(folder, rank, number):
    os.kill(int((folder / "pids" / f"{rank}.pid").read_text(encoding="utf-8")), number)


@mpi
def test_a_run_of_four_workers_goes_on_with_two_and_with_one(tmp_path, mpi_train, minilora, base, rows):
    assert finish(mpi_train(4, "--steps", 5))[0] == 0
    code, out, err = finish(mpi_train(2, "--steps", 8, "--resume"))
    assert code == 0 and out.count("saved in") == 1, err
    assert err.count("2 workers; each adds") == 1
    assert finish(mpi_train(1, "--steps", 11, "--resume"))[0] == 0
    settings = ["--base", base, "--lr", "1e-3", "--schedule", "constant", "--no-plot", "--eval-every", 3]
    assert minilora("train", rows, "--out", tmp_path / "one", "--steps", 11, *settings).code == 0
    ours, one = weights(tmp_path / "out"), weights(tmp_path / "one")
    assert ours.keys() == one.keys()
    assert max(abs(ours[name] - one[name]).max() for name in one) <= 1e-4
    told = {folder: json.loads((tmp_path / folder / "history.json").read_text("utf-8")) for folder in ("out", "one")}
    np.testing.assert_allclose(told["out"]["loss"], told["one"]["loss"], atol=1e-4)
    assert [step for step, _ in told["out"]["valid"]] == [0, 3, 5, 6, 8, 9, 11]


@mpi
def test_two_workers_pretrain_the_model_of_one(tmp_path, minilora):
    text = tmp_path / "sea.txt"
    text.write_text("".join(f"boat {n} is at sea\n" for n in range(300)), encoding="utf-8")
    options = ["pretrain", "--text", text, "--steps", 5, *SMALL, "--no-plot", "--out"]
    process = start(2, "-m", "minilora", *options, tmp_path / "two", PYTHONPATH=str(SUPPORT.parents[1]))
    code, out, err = finish(process)
    assert code == 0 and out.count("saved in") == 1, err
    assert minilora(*options, tmp_path / "one").code == 0
    two, one = (read_tensors(tmp_path / name / "model.safetensors") for name in ("two", "one"))
    assert two.keys() == one.keys()
    assert max(abs(two[name] - one[name]).max() for name in one) <= 1e-4


@mpi
@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_one_worker_ends_all_after_the_same_step_and_the_run_is_saved(tmp_path, mpi_train, number, code):
    process = mpi_train(2, "--steps", 100_000)
    wait_for(tmp_path / "out" / "history.json")
    signal_worker(tmp_path, 1, number)
    ended, out, err = finish(process)
    assert (ended, out) == (code, "")
    assert err.count("everything is saved") == 1 and errors_in(err) == []
    step = len(json.loads((tmp_path / "out" / "history.json").read_text("utf-8"))["loss"])
    assert f"stopped at step {step};" in err
    assert finish(mpi_train(2, "--resume", "--steps", step + 2))[0] == 0


@mpi
def test_ctrl_c_on_mpiexec_ends_all_and_the_run_is_saved(tmp_path, mpi_train):
    process = mpi_train(2, "--steps", 100_000)
    wait_for(tmp_path / "out" / "history.json")
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130 and err.count("everything is saved") == 1


@mpi
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_worker_ends_all_and_the_saved_run_goes_on(tmp_path, mpi_train, rank):
    process = mpi_train(2, "--steps", 100_000)
    wait_for(tmp_path / "out" / "history.json")
    signal_worker(tmp_path, rank, signal.SIGKILL)
    began = time.monotonic()
    assert finish(process)[0] != 0 and time.monotonic() - began < 10
    step = len(json.loads((tmp_path / "out" / "history.json").read_text("utf-8"))["loss"])
    assert finish(mpi_train(2, "--resume", "--steps", step + 50))[0] == 0
    assert not list((tmp_path / "out").glob(".*"))


@mpi
@pytest.mark.parametrize("rank", [0, 1])
def test_a_worker_that_fails_ends_all_with_one_line(tmp_path, mpi_train, rank):
    code, out, err = finish(mpi_train(3, "--steps", 9, FAIL=str(rank)))
    ended = time.time()
    assert (code, out) == (2, "") and ended - (tmp_path / "pids" / "failed").stat().st_mtime < 5  # on a busy machine
    assert errors_in(err) == [f"error: the disk of this machine is full (worker {rank} of 3)"]


@mpi
def test_a_mistake_that_all_make_is_one_line(tmp_path, mpi_train):
    code, out, err = finish(mpi_train(3, file=tmp_path / "none.jsonl"))
    assert (code, out, errors_in(err)) == (2, "", [f"error: no such file: {tmp_path / 'none.jsonl'}"])
    assert "Abort" not in err


@mpi
def test_a_mistake_in_the_command_line_is_one_line(mpi_train):
    code, out, err = finish(mpi_train(3, "--steps", 0))
    assert (code, out) == (2, "") and len(err.splitlines()) == 1


@mpi
def test_a_loss_that_is_not_finite_ends_all_with_one_line(tmp_path, mpi_train):
    code, _, err = finish(mpi_train(2, "--steps", 50, "--lr", "1e30"))
    assert code == 2 and len(errors_in(err)) == 1
    assert "the loss is nan" in errors_in(err)[0] and "Abort" not in err


@mpi
def test_a_loss_that_is_not_finite_ends_all_also_without_a_validation_loss(tmp_path, mpi_train):
    (tmp_path / "one.jsonl").write_text(json.dumps(workers.PAIRS[0]) + "\n", encoding="utf-8")
    process = mpi_train(2, "--steps", 50, "--lr", "1e30", "--warmup", 0, file=tmp_path / "one.jsonl")
    try:
        code, _, err = finish(process, limit=60)
    finally:
        process.kill()
    assert code == 2 and len(errors_in(err)) == 1 and "nothing is saved" in errors_in(err)[0]
    assert not (tmp_path / "out" / "adapter_model.safetensors").exists()


@mpi
def test_patience_ends_all_at_the_step_at_which_it_ends_one_process(tmp_path, mpi_train, minilora, base, rows):
    options = ["--steps", 300, "--lr", "0.3", "--patience", 1, "--keep", "best"]
    code, out, err = finish(mpi_train(2, *options))
    assert code == 0, err
    settings = ["--base", base, "--schedule", "constant", "--no-plot", "--eval-every", 3]
    assert minilora("train", rows, "--out", tmp_path / "one", *settings, *options).code == 0
    told, one = (json.loads((tmp_path / name / "history.json").read_text("utf-8")) for name in ("out", "one"))
    assert [step for step, _ in told["valid"]] == [step for step, _ in one["valid"]]
    best = min(told["valid"][1:], key=lambda pair: pair[1])
    assert [step for step, _ in told["valid"]][-1] == best[0] + 3 < 300


@mpi
def test_two_trainings_into_one_folder_are_one_training_and_one_line(tmp_path, mpi_train):
    first = mpi_train(2, "--steps", 100_000)
    wait_for(tmp_path / "out" / "history.json")
    code, _, err = finish(mpi_train(2, "--steps", 9, "--overwrite"))
    assert code == 2 and len(errors_in(err)) == 1 and "another process is writing" in err
    first.send_signal(signal.SIGTERM)
    assert finish(first)[0] == 143


@mpi
def test_workers_whose_files_differ_are_refused(tmp_path, mpi_train, rows):
    lines = rows.read_text(encoding="utf-8").splitlines(keepends=True)
    other = tmp_path / "rows.jsonl"
    other.write_text("".join(lines[1:]), encoding="utf-8")
    script = tmp_path / "other.py"
    script.write_text(
        "import sys, runpy\n"
        "from minilora.launcher import launched\n"
        f"if launched().rank == 1: sys.argv[sys.argv.index({str(rows)!r})] = {str(other)!r}\n"
        f"sys.argv.pop(0); runpy.run_path({str(SUPPORT / 'worker_command.py')!r}, run_name='__main__')\n",
        encoding="utf-8",
    )
    (tmp_path / "pids").mkdir(exist_ok=True)
    args = [script, "-", tmp_path / "pids", "train", rows, "--out", tmp_path / "out", "--no-plot", "--steps", 3]
    code, _, err = finish(start(2, *args, PYTHONPATH=str(SUPPORT.parents[1])))
    assert code == 2
    assert errors_in(err) == ["error: worker 1 has another data than worker 0; all need the same files"]


@mpi
def test_a_script_whose_worker_raises_an_error_ends_and_shows_it_once(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import minilora\nfrom minilora.training.joining import join\nworkers = join()\n"
        "if workers.rank == 1: raise ValueError('here')\nworkers.wait()\n",
        encoding="utf-8",
    )
    code, _, err = finish(start(3, script, PYTHONPATH=str(SUPPORT.parents[1])))
    assert code == 1 and err.count("ValueError: here") == 1


# ---- without mpiexec


def test_counts_of_labels_travel_exactly_in_float32():
    workers = MpiWorkers(fake_mpi(), Comm())
    [p] = [SimpleNamespace(data=np.zeros(3, np.float32), grad=None, size=3, shape=(3,), dtype=np.float32)]
    for labels in (0, 1, 4095, 4096, 2**24 + 1, 2**35 + 4095):
        assert workers.sum_step([p], np.float32(0.5), labels, labels == 1) == (np.float32(0.5), labels, labels == 1)
    assert p.grad is None and workers.bytes == 6 * 4 * (3 + TAIL)


def test_nccl_workers_sum_device_arrays_without_the_host_and_train_to_the_same_bits(monkeypatch):
    """With a stand-in for CuPy and for NCCL: no machine with two GPUs was at hand."""
    seen = []
    nccl = SimpleNamespace(all_reduce=lambda given, into: seen.append((given is into, given.size)))
    distributed = SimpleNamespace(init_process_group=lambda size, rank, use_mpi: nccl)
    monkeypatch.setitem(sys.modules, "cupyx", SimpleNamespace(distributed=distributed))
    monkeypatch.setitem(sys.modules, "cupyx.distributed", distributed)
    comm = Comm()
    found = {}
    for name, group in (("alone", ALONE), ("nccl", NcclWorkers(fake_mpi(), comm))):
        model, optimizer = fresh()
        for p in model.parameters():
            p.data = strict_cupy.asarray(p.data)
        run = train(model, endless(), optimizer, 3, workers=group)
        found[name] = [float(to_host(run.loss)), *(to_host(p.data) for p in optimizer.params)]
    assert all(np.array_equal(a, b) for a, b in zip(*found.values(), strict=True))
    numbers = sum(p.size for p in optimizer.params) + TAIL
    assert seen == [(True, numbers)] * 3
    assert [name for name, _ in comm.calls] == ["Bcast"] * len(optimizer.params)
