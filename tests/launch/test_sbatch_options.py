"""What may be given to sbatch, and what of the environment it sees."""

from __future__ import annotations

import logging

import pytest

from convsmith.errors import ConvsmithError
from convsmith.launch.sbatch_options import further_options, sbatch_environment


def test_options_that_convsmith_does_not_set_pass() -> None:
    given = ["account=us", "mem=200G", "exclusive", "--qos=long", "job_name=a b", "nodelist=n[1-2]", "time-min=10"]
    given += ["wait-all-nodes=1"]
    assert further_options([*given, "gres=fs:1", "export=ALL,A=1"], gpus=8) == {
        "account": "us",
        "mem": "200G",
        "exclusive": True,
        "qos": "long",
        "job-name": "a b",
        "nodelist": "n[1-2]",
        "time-min": "10",
        "wait-all-nodes": "1",
        "gres": "fs:1",
        "export": "ALL,A=1",
    }


@pytest.mark.parametrize(
    ("option", "ours"),
    [
        ("nodes=4", "--nodes"),
        ("--nodes=4", "--nodes"),
        ("node=4", "--nodes"),  # sbatch completes names
        ("ntasks=3", "--gpus, or --processes"),
        ("ntasks-per-node=3", "--gpus, or --processes"),
        ("ntasks_per_node=3", "--gpus, or --processes"),
        ("ntasks-per-core=1", "--gpus, or --processes"),
        ("ntasks-per-socket=1", "--gpus, or --processes"),
        ("nodefile=machines", "--nodes"),
        ("het-group=0", "--nodes"),
        ("cpus-per-task=2", "--cpus"),
        ("gpus-per-node=2", "--gpus"),
        ("gres=gpu:a100:2", "--gpus"),
        ("tres-per-task=gres/gpu:1", "--gpus and --cpus"),
        ("time=1:00", "--time"),
        ("partition=P", "--partition"),
        ("part=P", "--partition"),
        ("signal=TERM@60", "--grace"),
        ("requeue=false", "--max-requeues"),
        ("no-requeue", "--max-requeues"),
        ("array=0-3", "a ladder"),
        ("output=/tmp/log", "--out"),
        ("error=/tmp/log", "--out"),
        ("test-only", "--dry-run"),
        ("quiet", "--json"),
        ("wait", "--sbatch dependency"),  # its end would be waited for before it is told what to do
    ],
)
def test_an_option_that_convsmith_sets_is_an_error_that_names_its_own(option: str, ours: str) -> None:
    with pytest.raises(ConvsmithError) as caught:
        further_options(["mem=1G", option], gpus=8)
    assert caught.value.what == f"--sbatch {option} would change what convsmith sets itself"
    assert caught.value.fix.startswith(f"Say it with {ours}")


@pytest.mark.parametrize("option", ["", "=3", "me m=3", "mem=1\n#SBATCH --nodes=4", "mem=\x1b[2J", "Ünits", "-"])
def test_what_is_no_option_is_refused(option: str) -> None:
    with pytest.raises(ConvsmithError, match="is not an option"):
        further_options([option], gpus=1)


@pytest.mark.parametrize("option", ["-t=5", "n=4"])
def test_short_names_are_refused(option: str) -> None:
    with pytest.raises(ConvsmithError, match="Write the long one"):
        further_options([option], gpus=1)


@pytest.mark.parametrize("option", ["export=NONE", "export=NIL", "export=", "export", "export=HOME,PATH"])
def test_a_job_without_the_environment_is_refused(option: str) -> None:
    with pytest.raises(ConvsmithError, match="would start the training in another environment"):
        further_options([option], gpus=1)


def test_an_option_that_is_given_twice_is_refused() -> None:
    with pytest.raises(ConvsmithError, match="mem-per-cpu is given twice"):
        further_options(["mem-per-cpu=1G", "mem_per_cpu=2G"], gpus=1)


@pytest.mark.parametrize("value", ["1", "a100:1"])
def test_each_process_may_see_its_own_gpu_only(value: str) -> None:
    assert further_options([f"gpus-per-task={value}"], gpus=8) == {"gpus-per-task": value}


@pytest.mark.parametrize(("option", "gpus"), [("gpus-per-task=2", 8), ("gpus-per-task=1", 0), ("gpus-per-task", 8)])
def test_a_process_trains_on_one_gpu(option: str, gpus: int) -> None:
    with pytest.raises(ConvsmithError, match="Set their number with --gpus"):
        further_options([option], gpus)


def test_variables_of_an_enclosing_job_do_not_reach_sbatch(caplog: pytest.LogCaptureFixture) -> None:
    kept = {"PATH": "/bin", "SLURM_CONF": "/etc/slurm.conf", "SBATCH_ACCOUNT": "us", "SBATCH_PARTITION": "P"}
    outer = ("SLURM_MEM_PER_NODE", "SLURM_CPU_BIND", "SLURM_TRES_PER_TASK", "SLURM_NTASKS", "SLURM_JOB_ID")
    more = ["SRUN_CPUS_PER_TASK", "SLURMD_NODENAME", "SBATCH_CPU_BIND", "SQUEUE_USERS"]
    more += ["PMI_RANK", "PMI_FD", "PMIX_RANK", "OMPI_COMM_WORLD_SIZE", "RANK", "LOCAL_RANK", "FLUX_TASK_RANK"]
    assert sbatch_environment({**kept, **dict.fromkeys([*outer, *more], "3")}, None) == kept
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("SBATCH_TIMELIMIT", "--time"),
        ("SBATCH_SIGNAL", "--grace"),
        ("SBATCH_NO_REQUEUE", "--max-requeues"),
        ("SBATCH_GPUS_PER_NODE", "--gpus"),
        ("SBATCH_PARTITION", "--partition"),
        ("SBATCH_OPEN_MODE", "--out"),
        ("SBATCH_EXPORT", "the whole environment"),
    ],
)
def test_a_variable_that_sbatch_would_heed_before_convsmiths_options_does_not_count(
    name: str, ours: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert sbatch_environment({name: "x"}, "P") == {}
    assert caplog.records[0].getMessage().startswith(f"{name}=x does not count: {ours}")


def test_gpus_that_a_variable_of_sbatch_asks_for_do_not_count_and_other_resources_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert sbatch_environment({"SBATCH_GRES": "gpu:a100:4"}, None) == {}
    assert caplog.records[0].getMessage() == "SBATCH_GRES=gpu:a100:4 does not count: --gpus says it"
    assert sbatch_environment({"SBATCH_GRES": "tmpdisk:100"}, None) == {"SBATCH_GRES": "tmpdisk:100"}
