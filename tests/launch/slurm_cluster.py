"""A real Slurm on this machine: a controller and two nodes that are daemons of the same host."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

DAEMONS = ("slurmctld", "slurmd", "sbatch", "scontrol")


def why_not() -> str | None:
    """Why no Slurm can be started here."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))
    missing = [name for name in DAEMONS if shutil.which(name, path=path) is None]
    if missing:
        return f"{missing[0]} is not installed: apt-get install slurmctld slurmd slurm-client"
    return None if getpass.getuser() == "root" else "Slurm's daemons need root"


@contextmanager
def cluster(folder: Path) -> Iterator[Path]:
    """A cluster whose nodes are idle; the path of its slurm.conf."""
    *ports, controller = _free_ports(3)
    for name in ("state", "spool/n1", "spool/n2"):
        (folder / name).mkdir(parents=True)
    config = folder / "slurm.conf"
    config.write_text(_CONFIG.format(host=socket.gethostname().partition(".")[0], folder=folder, controller=controller))
    with config.open("a") as file:
        for node, port in zip(("n1", "n2"), ports, strict=True):
            file.write(f"NodeName={node} NodeHostname={socket.gethostname().partition('.')[0]} NodeAddr=127.0.0.1 ")
            file.write(f"Port={port} CPUs=2 RealMemory=2000 Gres=gpu:2 State=UNKNOWN\n")
    # any two devices of the system stand for GPUs: Slurm hands them out by number, and looks no further
    (folder / "gres.conf").write_text("".join(f"NodeName=n[1-2] Name=gpu File=/dev/{it}\n" for it in ("null", "zero")))
    path = os.pathsep.join((os.environ["PATH"], "/usr/sbin"))
    environment = {**os.environ, "SLURM_CONF": str(config), "PATH": path}
    try:
        for command in (["slurmctld", "-i"], ["slurmd", "-N", "n1"], ["slurmd", "-N", "n2"]):
            subprocess.run(command, check=True, env=environment)
        idle = ["sinfo", "-h", "-p", "main", "-o", "%T %D"]
        wait(lambda: subprocess.check_output(idle, text=True, env=environment).strip() == "idle 2", 30)
        yield config
    finally:
        queued = ["squeue", "-h"]
        subprocess.run(["scancel", "--user", "root"], check=False, env=environment)
        wait(lambda: not subprocess.run(queued, capture_output=True, check=False, env=environment).stdout, 60)
        for note in folder.glob("*.pid"):
            os.kill(int(note.read_text()), signal.SIGTERM)
        wait(lambda: not any(folder.glob("*.pid")), 30)


def job_state(config: Path, job: str) -> dict[str, str]:
    """What Slurm says of a job, by its own names: JobState, Restarts."""
    shown = ["scontrol", "show", "job", job, "-o"]
    text = subprocess.check_output(shown, text=True, env={**os.environ, "SLURM_CONF": str(config)})
    return dict(word.split("=", 1) for word in text.split() if "=" in word)


def wait(until: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


# A requeued job waits until its credential has expired, two minutes unless said otherwise.
_CONFIG = """
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SwitchType=switch/none
ReturnToService=2
SlurmctldPort={controller}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
GresTypes=gpu
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
KillWait=5
SlurmctldTimeout=30
SlurmdTimeout=10
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=30
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""
