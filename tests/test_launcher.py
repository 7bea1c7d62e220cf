"""Which launcher has started a process, and how its cores are shared; nothing here starts one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from minilora import launcher
from minilora.launcher import Launch, cores, launched, share_cores

EVERY = {name for variables in launcher.LAUNCHERS.values() for name in variables}


@pytest.fixture
def environment(monkeypatch):
    """environment({"PMI_SIZE": "2"}): these variables of launchers, and no others."""

    before = dict(os.environ)

    def put(variables):
        others = {name: value for name, value in before.items() if name not in (*EVERY, *launcher.THREADS)}
        monkeypatch.setattr(os, "environ", others | variables)

    put({})
    return put


MPICH = {"PMI_SIZE": "4", "PMI_RANK": "3", "MPI_LOCALNRANKS": "2"}
OPEN_MPI = {"OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_LOCAL_SIZE": "4"}
SLURM = {"SLURM_STEP_NUM_TASKS": "7", "SLURM_PROCID": "6", "SLURM_STEP_TASKS_PER_NODE": "3(x2),1"}


@pytest.mark.parametrize(
    "variables, launch",
    [
        ({}, None),
        (MPICH, Launch("mpiexec", 4, 3, 2)),
        (OPEN_MPI, Launch("Open MPI's mpiexec", 8, 5, 4)),
        (SLURM, Launch("srun", 7, 6, 3)),
        (SLURM | MPICH, Launch("mpiexec", 4, 3, 2)),
        (SLURM | OPEN_MPI, Launch("Open MPI's mpiexec", 8, 5, 4)),
    ],
)
def test_a_launcher_is_recognised_and_the_inner_one_of_two_counts(environment, variables, launch):
    environment(variables)
    assert launched() == launch


@pytest.mark.parametrize(
    "variables",
    [{"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_JOB_ID": "9"}, {"PMI_SIZE": ""}, {"PMI_SIZE": "many"}],
)
def test_a_script_of_sbatch_and_variables_without_a_number_are_no_launcher(environment, variables):
    environment(variables)
    assert launched() is None


def test_the_cores_of_a_machine_are_divided_among_its_processes(environment, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(12), raising=False)
    for local, threads in ((2, "6"), (5, "2"), (50, "1")):
        environment(MPICH | {"MPI_LOCALNRANKS": str(local)})
        share_cores()
        assert os.environ["OPENBLAS_NUM_THREADS"] == threads


@pytest.mark.parametrize("name", launcher.THREADS)
def test_a_number_of_threads_that_is_set_is_kept(environment, monkeypatch, name):
    environment(MPICH | {name: "9"})
    share_cores()
    assert {n: os.environ[n] for n in launcher.THREADS if n in os.environ} == {name: "9"}


@pytest.mark.parametrize("variables", [{}, MPICH | {"MPI_LOCALNRANKS": "1"}])
def test_a_process_alone_on_its_machine_has_all_threads(environment, variables):
    environment(variables)
    share_cores()
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def test_the_threads_of_a_product_are_those_that_are_set_else_the_cores(environment):
    assert launcher.threads() == cores()
    for variables, expected in (
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "3"}, 1),
    ):
        environment(variables)
        assert launcher.threads() == expected


@pytest.mark.skipif(sys.platform == "win32", reason="signals of another kind")
@pytest.mark.parametrize("program, says", [("-m minilora --help", False), ("-c import(minilora)", True)])
def test_ctrl_c_while_the_command_imports_ends_it_without_a_traceback(tmp_path, program, says):
    (tmp_path / "numpy.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)", encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    arguments = [part.replace("(", " ").replace(")", "") for part in program.split()]
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == -signal.SIGINT and ("Traceback" in done.stderr) == says
