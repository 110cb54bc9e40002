"""Two network namespaces as two hosts, and what a cut of the link between them does."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

import convsmith as cs
from tests.launch.slurm_cluster import wait
from tests.launch.test_local import RECIPE, finish, start
from tests.training.test_interrupted import assert_same_run, state_of, wait_for_step

pytestmark = pytest.mark.slow

PATIENCE = 5  # seconds
WORDS = (*RECIPE, "schedule.epochs=30")


@dataclass
class Hosts:
    """Two namespaces joined by a cable."""

    names: tuple[str, str]

    def address(self, host: int) -> str:
        return f"10.213.7.{host + 1}"

    def link(self, state: str) -> None:
        _ip("netns", "exec", self.names[0], "ip", "link", "set", "cable0", state)

    def torchrun(self, host: int, data: Path, out: Path, nnodes: str, *options: str) -> subprocess.Popen[str]:
        """The agent of one host, with one process to train; what both say goes to `out`-HOST.log."""
        command = ["ip", "netns", "exec", self.names[host], sys.executable, "-m", "torch.distributed.run"]
        command += [f"--nnodes={nnodes}", "--nproc-per-node=1", *options, "--rdzv-backend=c10d", "--rdzv-id=t"]
        command += [f"--rdzv-endpoint={self.address(0)}:29401", f"--local-addr={self.address(host)}"]
        command += [f"--rdzv-conf=is_host={int(host == 0)},last_call_timeout=2", "-m", "convsmith.cli.main"]
        command += ["train", "digits", "--data", str(data), "--out", str(out), "--peer-timeout", str(PATIENCE)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": f"cable{host}"}
        environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        with log(out, host).open("w") as file:
            return subprocess.Popen(
                [*command, *WORDS], stdout=file, stderr=file, text=True, env=environment, start_new_session=True
            )


def log(out: Path, host: int) -> Path:
    return out.with_name(f"{out.name}-{host}.log")


def end(*agents: subprocess.Popen[str]) -> None:
    """Also of what they have started."""
    for agent in agents:
        with suppress(ProcessLookupError):
            os.killpg(agent.pid, signal.SIGKILL)
        agent.wait()


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    if shutil.which("ip") is None or getpass.getuser() != "root":
        pytest.skip("network namespaces need root, and `ip` of iproute2")
    names = (f"convsmith-{os.getpid()}-0", f"convsmith-{os.getpid()}-1")
    hosts = Hosts(names)
    try:
        for name in names:
            _ip("netns", "add", name)
        _ip("link", "add", "cable0", "netns", names[0], "type", "veth", "peer", "name", "cable1", "netns", names[1])
        for host, name in enumerate(names):
            _ip("-n", name, "addr", "add", f"{hosts.address(host)}/24", "dev", f"cable{host}")
            for device in ("lo", f"cable{host}"):
                _ip("-n", name, "link", "set", device, "up")
        yield hosts
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False)


def _ip(*words: str) -> None:
    made = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no network namespaces here: {made.stderr.strip()}")


def test_a_cut_link_is_an_error_in_the_stated_time_and_the_run_goes_on_bit_for_bit(
    hosts: Hosts, digits: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    agents = [hosts.torchrun(host, digits, out, "2") for host in (0, 1)]
    try:
        wait_for_step(agents[0], out, 20)
        hosts.link("down")
        cut = time.monotonic()
        silent = f"has not answered for {PATIENCE} seconds"
        wait(lambda: all(silent in log(out, host).read_text() for host in (0, 1)), 4 * PATIENCE)
        print(f"noticed after {time.monotonic() - cut:.1f} seconds")
        assert time.monotonic() - cut < PATIENCE + 3
    finally:
        end(*agents)
    assert not (out / "bundle").exists()
    hosts.link("up")
    agents = [hosts.torchrun(host, digits, out, "2") for host in (0, 1)]
    try:
        assert [agent.wait(300) for agent in agents] == [0, 0], log(out, 0).read_text()
    finally:
        end(*agents)
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    finish(start(digits, tmp_path / "reference", *WORDS[len(RECIPE) :], launcher=torchrun))
    assert_same_run(tmp_path / "reference", out)


def test_with_one_host_or_two_the_one_where_they_meet_goes_on_alone(hosts: Hosts, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    agents = [hosts.torchrun(host, digits, out, "1:2", "--max-restarts=3") for host in (0, 1)]
    try:
        wait_for_step(agents[0], out, 20)
        hosts.link("down")
        assert agents[0].wait(200) == 0, log(out, 0).read_text()
    finally:
        end(*agents)
    assert "the run began with 2 processes and goes on with 1" in log(out, 0).read_text()
    assert state_of(out)["step"] == cs.Run(out).plan["total_steps"]
    assert "bundle: " not in log(out, 1).read_text()
