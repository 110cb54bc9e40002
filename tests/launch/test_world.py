"""What launchers tell a process by its environment."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from convsmith.errors import ConvsmithError
from convsmith.launch.world import LAUNCHER_VARIABLES, World, meeting_point

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
KUBEFLOW = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "job-master-0", "MASTER_PORT": "23456"}
OPEN_MPI = {f"OMPI_COMM_WORLD_{name}": "1" for name in ("RANK", "LOCAL_RANK")}
OPEN_MPI |= {f"OMPI_COMM_WORLD_{name}": "2" for name in ("SIZE", "LOCAL_SIZE")}
INTEL_MPI = {"PMI_RANK": "3", "PMI_SIZE": "4", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}
SRUN = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "1"}
FLUX = {"FLUX_TASK_RANK": "1", "FLUX_JOB_SIZE": "2", "FLUX_TASK_LOCAL_ID": "0"}
PADDLE = {
    "PADDLE_TRAINER_ID": "1",
    "PADDLE_TRAINERS_NUM": "2",
    "PADDLE_TRAINER_ENDPOINTS": "10.0.0.1:6170,10.0.0.2:6170",
}
CLUSTER = {"chief": ["chief-0:2222"], "worker": ["worker-0:2222", "worker-1:2222"], "ps": ["ps-0:2222"]}


def tensorflow(kind: str, index: int, cluster: Any = CLUSTER) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


POD = {"JOB_COMPLETION_INDEX": "1"}
OTHERS = ("OMPI_", "PMI", "SLURM_", "SM_", "FLUX_", "PADDLE_", "LSB_")
SAGEMAKER = {"SM_HOSTS": '["algo-1", "algo-2"]', "SM_CURRENT_HOST": "algo-2"}


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name in LAUNCHER_VARIABLES | {"MASTER_ADDR", "MASTER_PORT", "TF_CONFIG"} or name.startswith(OTHERS):
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
        pytest.param({"PMI_RANK": "0", "PMI_SIZE": "1"}, World(), id="one of one of MPICH"),
        pytest.param({"PMI_RANK": "0"}, World(), id="a first one of which no more is said"),
        pytest.param({"PMIX_RANK": "0"}, World(), id="a first one of PMIx"),
        pytest.param(SRUN | {"PMIX_RANK": "1"}, World(), id="srun with PMIx"),
        pytest.param(SRUN | {"PMI_RANK": "1", "PMI_SIZE": "4"}, World(), id="srun with PMI"),
        pytest.param(SRUN | INTEL_MPI, World(3, 4, 1, 2), id="mpirun in a step of srun"),
        pytest.param(FLUX, World(1, 2, placed=False), id="Flux"),
        pytest.param(FLUX | {"FLUX_JOB_SIZE": "1", "FLUX_TASK_RANK": "0"}, World(), id="Flux alone"),
        pytest.param(PADDLE, World(1, 2, placed=False), id="Paddle"),
        pytest.param({"PADDLE_TRAINER_ID": "0", "PADDLE_TRAINERS_NUM": "1"}, World(), id="Paddle alone"),
        pytest.param(tensorflow("chief", 0), World(0, 3, placed=False), id="the chief of TF_CONFIG"),
        pytest.param(tensorflow("worker", 1), World(2, 3, placed=False), id="a worker of TF_CONFIG"),
        pytest.param(tensorflow("chief", 0, {"chief": ["a:1"]}), World(), id="TF_CONFIG of one"),
        pytest.param({"TF_CONFIG": "{}"}, World(), id="TF_CONFIG of none"),
        pytest.param({"TF_CONFIG": ""}, World(), id="an empty TF_CONFIG"),
        pytest.param(POD, World(), id="a pod of a job whose pods may be trainings of their own"),
        pytest.param(
            POD | {"WORLD_SIZE": "2", "MASTER_ADDR": "a"}, World(1, 2, placed=False), id="pods of one training"
        ),
        pytest.param(POD | TORCHRUN, World(5, 8, 1, 4), id="torchrun in a pod"),
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
        ({"PMIX_RANK": "1"}, "WORLD_SIZE is not set: PMIX_RANK=1 says"),
        ({"PMI_RANK": "1"}, "PMI_SIZE is not set: PMI_RANK=1 says"),
        ({"PMI_SIZE": "2"}, "PMI_RANK is not set: PMI_SIZE=2 says"),
        ({"OMPI_COMM_WORLD_RANK": "1"}, "OMPI_COMM_WORLD_SIZE is not set"),
        ({"FLUX_JOB_SIZE": "2"}, "FLUX_TASK_RANK is not set: FLUX_JOB_SIZE=2 says"),
        ({"FLUX_TASK_RANK": "1"}, "FLUX_JOB_SIZE is not set: FLUX_TASK_RANK=1 says"),
        ({"PADDLE_TRAINERS_NUM": "2"}, "PADDLE_TRAINER_ID is not set"),
        (tensorflow("ps", 0), "TF_CONFIG says that this process is ps 0: those that train are 1 of chief, 2 of worker"),
        (tensorflow("worker", 2), "TF_CONFIG says that this process is worker 2"),
        ({"TF_CONFIG": "[1]"}, "TF_CONFIG is not JSON with"),
        ({"TF_CONFIG": '{"cluster": {"worker": 3}}'}, "TF_CONFIG is not JSON with"),
        (POD | {"MASTER_ADDR": "a"}, "WORLD_SIZE is not set: RANK=1 says"),
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
        pytest.param(PADDLE, ("10.0.0.1", 6170), id="Paddle"),
        pytest.param(tensorflow("worker", 0), ("chief-0", 2222), id="TF_CONFIG"),
        pytest.param(FLUX | {"MASTER_ADDR": "n1", "MASTER_PORT": "7777"}, ("n1", 7777), id="Flux"),
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


def test_flux_does_not_say_where_they_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    put(FLUX | {"FLUX_JOB_ID": "4711"}, monkeypatch)
    with pytest.raises(ConvsmithError, match="MASTER_ADDR is not set: this is process 1 of 2"):
        meeting_point(World.of_environment())


def test_machines_of_unequal_size_count_as_one() -> None:
    assert World(0, 5, 0, 3).grid == (1, 5)
    assert World(5, 8, 1, 4).grid == (2, 4)
