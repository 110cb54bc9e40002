"""What launchers tell a process by its environment."""

from __future__ import annotations

import os

import pytest

from convsmith.errors import ConvsmithError
from convsmith.launch.world import World, meeting_point

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
KUBEFLOW = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "job-master-0", "MASTER_PORT": "23456"}
OPEN_MPI = {f"OMPI_COMM_WORLD_{name}": "1" for name in ("RANK", "LOCAL_RANK")}
OPEN_MPI |= {f"OMPI_COMM_WORLD_{name}": "2" for name in ("SIZE", "LOCAL_SIZE")}
INTEL_MPI = {"PMI_RANK": "3", "PMI_SIZE": "4", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}
SRUN = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "1"}
SAGEMAKER = {"SM_HOSTS": '["algo-1", "algo-2"]', "SM_CURRENT_HOST": "algo-2"}


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name in {*TORCHRUN, "MASTER_ADDR", "MASTER_PORT"} or name.startswith(("OMPI_", "PMI", "SLURM_", "SM_")):
            monkeypatch.delenv(name)


def put(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("variables", "world"),
    [
        pytest.param({}, World(), id="none"),
        pytest.param(TORCHRUN, World(5, 8, 1, 4), id="torchrun"),
        pytest.param(KUBEFLOW, World(1, 2, placed=False), id="Kubeflow"),
        pytest.param(KUBEFLOW | {"LOCAL_RANK": "0"}, World(1, 2, placed=False), id="half of a place"),
        pytest.param(OPEN_MPI, World(1, 2, 1, 2), id="Open MPI"),
        pytest.param(OPEN_MPI | TORCHRUN, World(5, 8, 1, 4), id="torchrun counts first"),
        pytest.param(INTEL_MPI, World(3, 4, 1, 2), id="Intel MPI"),
        pytest.param({"PMI_RANK": "3", "PMI_SIZE": "4"}, World(3, 4, placed=False), id="MPICH"),
        pytest.param(SRUN | {"MASTER_ADDR": "n1"}, World(1, 4, placed=False), id="srun"),
        pytest.param(SRUN, World(), id="srun of trainings that do not know each other"),
        pytest.param({"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "MASTER_ADDR": "n1"}, World(), id="a script of sbatch"),
        pytest.param(SAGEMAKER, World(1, 2, placed=False), id="SageMaker"),
        pytest.param({"SM_HOSTS": '["algo-1"]', "SM_CURRENT_HOST": "algo-1"}, World(), id="SageMaker alone"),
        pytest.param({"WORLD_SIZE": "1"}, World(), id="one of one"),
    ],
)
def test_a_process_knows_its_place(variables: dict[str, str], world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    put(variables, monkeypatch)
    assert World.of_environment() == world


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"RANK": "1"}, "WORLD_SIZE is not set: RANK=1 says"),
        ({"WORLD_SIZE": "2"}, "RANK is not set: WORLD_SIZE=2 says"),
        ({"LOCAL_RANK": "1"}, "RANK is not set: LOCAL_RANK=1 says"),
        (TORCHRUN | {"RANK": ""}, "RANK is ``, not a number"),
        (TORCHRUN | {"RANK": "one"}, "RANK is `one`, not a number"),
        (TORCHRUN | {"RANK": "-1"}, "RANK is `-1`, not a number"),
        (TORCHRUN | {"WORLD_SIZE": " "}, "WORLD_SIZE is ``, not a number"),
        (TORCHRUN | {"WORLD_SIZE": "0"}, "RANK is 5 and WORLD_SIZE is 0"),
        (TORCHRUN | {"RANK": "8"}, "RANK is 8 and WORLD_SIZE is 8"),
        (TORCHRUN | {"LOCAL_RANK": "4"}, "LOCAL_RANK is 4 and LOCAL_WORLD_SIZE is 4"),
        (TORCHRUN | {"LOCAL_WORLD_SIZE": ""}, "LOCAL_WORLD_SIZE is ``, not a number"),
        (OPEN_MPI | {"OMPI_COMM_WORLD_RANK": "2"}, "OMPI_COMM_WORLD_RANK is 2 and OMPI_COMM_WORLD_SIZE is 2"),
        (SAGEMAKER | {"SM_CURRENT_HOST": "algo-3"}, "SM_CURRENT_HOST is `algo-3`: SM_HOSTS names algo-1, algo-2"),
        (SAGEMAKER | {"SM_HOSTS": "algo-1"}, "SM_HOSTS is not a list of host names"),
    ],
)
def test_what_cannot_be_right_is_named(variables: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put(variables, monkeypatch)
    with pytest.raises(ConvsmithError) as caught:
        World.of_environment()
    assert str(caught.value).startswith(named)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("variables", "point"),
    [
        pytest.param(KUBEFLOW, ("job-master-0", 23456), id="Kubeflow"),
        pytest.param(SAGEMAKER | {"MASTER_PORT": "7777"}, ("algo-1", 7777), id="SageMaker"),
        pytest.param(OPEN_MPI | {"MASTER_PORT": "29500"}, ("127.0.0.1", 29500), id="mpirun on one machine"),
    ],
)
def test_where_they_meet_is_said_or_derived(
    variables: dict[str, str], point: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(variables, monkeypatch)
    assert meeting_point(World.of_environment()) == point


def test_the_processes_of_one_mpirun_choose_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    put(OPEN_MPI | {"PMIX_NAMESPACE": "prterun-n1-4711@1"}, monkeypatch)
    first = meeting_point(World.of_environment())
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    assert meeting_point(World.of_environment()) == first


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"MASTER_ADDR": ""}, "MASTER_ADDR is not set: this is process 1 of 2"),
        ({"MASTER_PORT": ""}, "MASTER_PORT is not set"),
        ({"MASTER_ADDR": "", "MASTER_PORT": ""}, "MASTER_ADDR and MASTER_PORT are not set"),
        ({"MASTER_PORT": "http"}, "MASTER_PORT is `http`"),
        ({"MASTER_PORT": "65536"}, "MASTER_PORT is `65536`"),
        ({"MASTER_PORT": "-1"}, "MASTER_PORT is `-1`"),
    ],
)
def test_without_a_place_to_meet_the_variable_is_named(
    variables: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(KUBEFLOW | variables, monkeypatch)
    with pytest.raises(ConvsmithError, match=named):
        meeting_point(World.of_environment())


def test_machines_of_unequal_size_count_as_one() -> None:
    assert World(0, 5, 0, 3).grid == (1, 5)
    assert World(5, 8, 1, 4).grid == (2, 4)
