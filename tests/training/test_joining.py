"""Whether a launcher's processes find each other; nothing here starts one. With real ones: test_parallel.py."""

import os
import socket
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from fake_mpi import Comm, fake_mpi

from minilora import launcher
from minilora.errors import ConfigError
from minilora.training import joining
from minilora.training.joining import join, own_device
from minilora.training.parallel import ALONE, MpiWorkers, Workers


@pytest.fixture
def launched_as(monkeypatch):
    """launched_as(fake MPI or None, PMI_SIZE="4"): a launcher's variables, and the MPI that mpi4py has."""

    def put(mpi, **variables):
        for name in (name for three in launcher.LAUNCHERS.values() for name in three):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setitem(sys.modules, "mpi4py", None if mpi is None else SimpleNamespace(MPI=mpi))
        monkeypatch.setattr(joining, "_joined", None)
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        joining._join.cache_clear()

    yield put
    joining._join.cache_clear()


def test_without_a_launcher_mpi4py_is_not_imported_and_the_process_is_alone(launched_as):
    launched_as(None)
    assert join() is ALONE
    assert (ALONE.rank, ALONE.size, ALONE.gather(3).tolist()) == (0, 1, [3.0])


@pytest.mark.parametrize(
    "variables, words",
    [
        ({"PMI_SIZE": "4", "PMI_RANK": "0"}, "mpiexec has started 4 processes"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "Open MPI's mpiexec has started 2 processes"),
        ({"SLURM_STEP_NUM_TASKS": "3"}, "srun has started 3 processes"),
    ],
)
def test_several_processes_without_mpi4py_are_refused_with_the_command_that_installs_it(launched_as, variables, words):
    launched_as(None, **variables)
    with pytest.raises(ConfigError, match=words) as error:
        join()
    assert str(error.value).endswith("pip install 'minilora[parallel]'")


def test_one_process_of_a_launcher_needs_no_mpi4py(launched_as):
    launched_as(None, PMI_SIZE="1")
    assert join() is ALONE


@pytest.mark.parametrize(
    "variables, way",
    [
        ({"SLURM_STEP_NUM_TASKS": "4"}, "add --mpi=pmi2 or --mpi=pmix"),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, "use the mpiexec of MPICH, which mpi4py has loaded"),
    ],
)
def test_processes_that_do_not_find_each_other_are_refused(launched_as, variables, way):
    launched_as(fake_mpi(size=1), **variables)
    with pytest.raises(ConfigError, match=f"has started 4 processes, and MPI finds 1; {way}"):
        join()


def test_a_mistake_before_the_workers_join_ends_all_processes_of_mpich(launched_as, capsys, monkeypatch):
    monkeypatch.setattr(joining, "AGREE", 0)
    for rank in ("0", "1"):
        ours, manager = socket.socketpair()
        launched_as(None, PMI_SIZE="2", PMI_RANK=rank)
        monkeypatch.setenv("PMI_FD", str(ours.fileno()))
        with pytest.raises(SystemExit) as ended:
            joining.end("error: no", 2)
        assert (ended.value.code, capsys.readouterr().err) == (2, "error: no\n")
        assert manager.recv(100) == b"cmd=abort exitcode=2\n"
        ours.close()
        manager.close()


def test_a_file_that_has_the_number_of_mpichs_channel_is_left_alone(launched_as, monkeypatch, tmp_path):
    with (tmp_path / "file").open("wb") as file:
        launched_as(None, PMI_SIZE="2", PMI_RANK="0")
        monkeypatch.setenv("PMI_FD", str(file.fileno()))
        with pytest.raises(SystemExit):
            joining.end("error: no", 2)
    assert (tmp_path / "file").read_bytes() == b""


def test_only_worker_0_prints_a_mistake_that_is_made_before_the_workers_join(launched_as, capsys):
    for rank, printed in (("0", "error: no\n"), ("1", "")):
        launched_as(None, PMI_SIZE="2", PMI_RANK=rank)
        with pytest.raises(SystemExit) as ended:
            joining.end("error: no", 2)
        assert ended.value.code == 2 and capsys.readouterr().err == printed


class Pair(Workers):
    """Two workers of which the other has a given number."""

    size = 2

    def __init__(self, other):
        self.other = other

    def sum(self, array):
        array[1] = self.other
        return array


def test_a_value_that_differs_names_the_worker_and_what_differs():
    first = []
    mine = Pair(0.0)
    mine.gather = lambda number: first.append(number) or np.array([number, number])
    joining.check_same(mine, data="abc")
    assert 0 < first[0] < 2**48
    with pytest.raises(ConfigError, match="worker 1 has another data than worker 0"):
        joining.check_same(Pair(5.0), data="abc")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with a name")
def test_what_can_be_read_once_is_refused_for_several_workers(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    joining.check_files(ALONE, ["-", str(tmp_path / "pipe")])
    joining.check_files(Pair(0), [str(tmp_path / "file"), "none"])
    for path, name in (("-", "standard input"), (str(tmp_path / "pipe"), str(tmp_path / "pipe"))):
        with pytest.raises(ConfigError, match=f"{name} can be read once, and 2 workers need it; save it in a file"):
            joining.check_files(Pair(0), [path])


def test_the_workers_of_a_machine_take_its_gpus_in_turn(monkeypatch):
    runtime = SimpleNamespace(getDeviceCount=lambda: 2)
    cuda = SimpleNamespace(cuda=SimpleNamespace(runtime=runtime))
    monkeypatch.setattr(joining, "require_cupy", lambda device: cuda)
    devices = [own_device("cuda", MpiWorkers(fake_mpi(), Comm(4, rank))) for rank in range(4)]
    assert devices == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert own_device("cuda", ALONE) == "cuda" and own_device("cuda:1", ALONE) == "cuda:1"
