"""Which options of sbatch a user may add to those that convsmith sets, and in which environment sbatch runs."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence

from convsmith.errors import ConvsmithError
from convsmith.launch.world import LAUNCHER_VARIABLES

logger = logging.getLogger(__name__)

_PROCESSES = "--gpus, or --processes with --gpus 0"
_LOGS = "--out, in whose slurm/ the logs are"
_OWN = {
    "nodes": "--nodes",
    "nodefile": "--nodes and --sbatch nodelist=NAMES",
    "het-group": "--nodes: a training is one group of machines",
    "ntasks": _PROCESSES,
    "ntasks-per-node": _PROCESSES,
    "tasks-per-node": _PROCESSES,
    "ntasks-per-gpu": _PROCESSES,
    "ntasks-per-core": _PROCESSES,
    "ntasks-per-socket": _PROCESSES,
    "cpus-per-task": "--cpus",
    "cpus-per-gpu": "--cpus",
    "gpus": "--gpus",
    "gpus-per-node": "--gpus",
    "gpus-per-socket": "--gpus",
    "tres-per-task": "--gpus and --cpus",
    "time": "--time",
    "partition": "--partition",
    "signal": "--grace",
    "requeue": "--max-requeues",
    "no-requeue": "--max-requeues",
    "array": "a ladder in place of a recipe",
    "output": _LOGS,
    "error": _LOGS,
    "open-mode": _LOGS,
    "chdir": "the folder that the command is given in",
    "test-only": "--dry-run",
    "parsable": "--json",
    "quiet": "--json",
    "wait": "--sbatch dependency=afterok:JOB, in the job that has to wait",
    "wrap": "the recipe",
}
"""Options that convsmith sets, or that contradict those: what says the same in `convsmith launch slurm`."""

_ENVIRONMENT = {"time": "TIMELIMIT", "array": "ARRAY_INX"}
"""Variables of sbatch, after SBATCH_, that are not called as their option."""

_OF_A_JOB = ("SLURM_", "SLURMD_", "SRUN_", "SQUEUE_", "SBATCH_CPU_BIND", "SBATCH_MEM_BIND", "PMI_", "PMIX_SERVER_")
_OF_THE_CLUSTER = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT")


def further_options(given: Sequence[str], gpus: int) -> dict[str, str | bool]:
    """NAME or NAME=VALUE as sbatch's options by name, True for those without a value.

    Args:
        given: in the order of the command line.
        gpus: of each machine.

    Raises:
        ConvsmithError: one is not an option, is given twice, or is set by convsmith.
    """
    options: dict[str, str | bool] = {}
    for word in given:
        written, equals, value = word.partition("=")
        name = written.lstrip("-").replace("_", "-")
        if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or not value.isprintable():
            raise ConvsmithError(f"--sbatch {word!r} is not an option", fix="Write NAME or NAME=VALUE, as mem=200G.")
        if len(name) == 1:
            raise ConvsmithError(f"--sbatch {word} is a short name", fix="Write the long one: `sbatch --help` has it.")
        _refuse_own(word, name, value, gpus)
        if name in options:
            raise ConvsmithError(f"--sbatch {name} is given twice", "only one of them can count", "Leave one out.")
        options[name] = value if equals else True
    return options


def _refuse_own(word: str, name: str, value: str, gpus: int) -> None:
    if name == "gpus-per-task":
        if gpus and value.rpartition(":")[2] == "1":
            return  # each process has one GPU, and sees no other
        raise ConvsmithError(
            f"--sbatch {word} does not go with --gpus {gpus}",
            "a process trains on one GPU" if gpus else "without GPUs",
            "Set their number with --gpus; gpus-per-task=1 besides lets each process see its own only.",
        )
    if name == "export" and value.partition(",")[0] != "ALL":
        raise ConvsmithError(
            f"--sbatch {word} would start the training in another environment",
            "its processes find each other by variables",
            "Write export=ALL,NAME=VALUE to add some.",
        )
    ours = "--gpus" if name == "gres" and gpus and "gpu" in value else None
    ours = ours or next((it for option, it in _OWN.items() if option.startswith(name)), None)  # as sbatch completes it
    if ours:
        raise ConvsmithError(f"--sbatch {word} would change what convsmith sets itself", fix=f"Say it with {ours}.")


def sbatch_environment(outer: Mapping[str, str], partition: str | None) -> dict[str, str]:
    """The environment for sbatch, and so for the job: without variables of the job that this process may be part of.

    Srun would heed those as if they were the new job's. So would sbatch its own variables before the script's options.
    """
    of_a_job = {name for name in outer if name.startswith(_OF_A_JOB)} | LAUNCHER_VARIABLES
    cleaned = {name: value for name, value in outer.items() if name not in of_a_job or name in _OF_THE_CLUSTER}
    said = {"SBATCH_" + _ENVIRONMENT.get(it, it.upper().replace("-", "_")): ours for it, ours in _OWN.items()}
    if partition is None:
        del said["SBATCH_PARTITION"]
    said["SBATCH_EXPORT"] = "the whole environment"
    if "gpu" in cleaned.get("SBATCH_GRES", ""):
        said["SBATCH_GRES"] = "--gpus"
    for name in said.keys() & cleaned.keys():
        logger.warning("%s=%s does not count: %s says it", name, cleaned.pop(name), said[name])
    return cleaned
