"""Two commands that a launcher starts as two nodes, which meet at an address of the loopback range."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import convsmith as cs
from tests.launch.test_local import RECIPE

pytestmark = pytest.mark.slow

FIRST_NODE = "127.0.0.2"  # on Linux all of 127.0.0.0/8 is this machine


@pytest.fixture
def port() -> int:
    """One that was free a moment ago."""
    with socket.socket() as probe:
        try:
            probe.bind((FIRST_NODE, 0))
        except OSError:
            pytest.skip("the loopback interface has one address only")
        return int(probe.getsockname()[1])


def start(node: int, port: int, data: Path, out: Path, *words: str) -> subprocess.Popen[str]:
    """The command on one of two nodes with one process each."""
    place = {"RANK": node, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1, "MASTER_PORT": port}
    variables = {name: str(value) for name, value in place.items()}
    command = [sys.executable, "-m", "convsmith.cli.main", "train", "digits", "--data", str(data), "--out", str(out)]
    return subprocess.Popen(
        [*command, *RECIPE, "schedule.epochs=1", *words],
        env={**os.environ, **variables, "MASTER_ADDR": FIRST_NODE, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def ends(*nodes: subprocess.Popen[str]) -> list[tuple[int, str]]:
    """The exit code of each, and what it said."""
    said = [node.communicate(timeout=120)[1] for node in nodes]
    return [(node.returncode, errors) for node, errors in zip(nodes, said, strict=True)]


@pytest.mark.parametrize(
    ("key", "values"), [("seed", ("0", "1")), ("ema.decay", ("0.9", "0.99")), ("eval_every", ("1", "2"))]
)
def test_nodes_that_were_not_given_the_same_refuse_both_and_name_the_key(
    digits: Path, tmp_path: Path, port: int, key: str, values: tuple[str, str]
) -> None:
    words = ("eval=true", "--peer-timeout", "60")
    nodes = [start(rank, port, digits, tmp_path / "run", *words, f"{key}={it}") for rank, it in enumerate(values)]
    for code, errors in ends(*nodes):
        assert code == 2, errors
        assert "error: the processes of this training were not given the same: these differ: " in errors
        assert f"{key} ({values[0]} in process 0, {values[1]} in process 1)\n" in errors
        assert "Traceback" not in errors
    assert not (tmp_path / "run").exists()


def test_nodes_that_were_given_the_same_train_one_model(digits: Path, tmp_path: Path, port: int) -> None:
    nodes = [start(rank, port, digits, tmp_path / f"run{rank}") for rank in (0, 1)]
    for code, errors in ends(*nodes):
        assert code == 0, errors
    assert cs.Run(tmp_path / "run0").plan["world_size"] == 2
    assert (tmp_path / "run0" / "bundle" / "bundle.json").exists()
    assert not (tmp_path / "run1").exists()
