"""Processes find each other by what a launcher says, or an error names the variable that keeps them apart."""

from __future__ import annotations

import json
import os
import socket
import time
from datetime import timedelta
from typing import Any

import pytest
from torch._C._distributed_c10d import HashStore

from convsmith.errors import ConvsmithError
from convsmith.launch.world import World
from convsmith.training.parallel import rendezvous
from convsmith.training.parallel.distributed import gather, joined
from convsmith.training.parallel.rendezvous import meet
from tests.training.ranks import run_ranks

PATIENCE = timedelta(seconds=20)


def join_by(*variables: dict[str, str]) -> Any:
    """Rank and places, after a message; each of the ranks that are started has the variables of its number instead."""
    own = variables[int(os.environ["RANK"])]
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        del os.environ[name]
    os.environ.update(own)
    with joined(PATIENCE) as world:
        return world.local_rank, world.local_size, gather(world, world.rank)


def of_kubeflow(rank: int, size: int = 2) -> dict[str, str]:
    return {"RANK": str(rank), "WORLD_SIZE": str(size)}


def of_mpirun(rank: int) -> dict[str, str]:
    place = {"LOCAL_RANK": rank, "LOCAL_SIZE": 2, "RANK": rank, "SIZE": 2}
    return {f"OMPI_COMM_WORLD_{name}": str(value) for name, value in place.items()}


@pytest.mark.parametrize("environment", [of_kubeflow, of_mpirun])
def test_processes_of_a_launcher_that_is_not_torchrun_join(environment: Any) -> None:
    assert run_ranks(2, join_by, environment(0), environment(1)) == [(0, 2, [0, 1]), (1, 2, [0, 1])]


def test_other_numbers_of_processes_are_an_error_of_all() -> None:
    said = run_ranks(2, join_by, of_kubeflow(0, 2), of_kubeflow(1, 3))
    assert said[0] == said[1]
    assert said[0].startswith("ConvsmithError 2: WORLD_SIZE is not the same in all processes: 2 in process 0, 3 in ")


def test_a_rank_that_two_have_is_an_error_of_all() -> None:
    said = run_ranks(3, join_by, *(of_kubeflow(rank, 3) for rank in (0, 1, 1)))
    assert all(it.startswith("ConvsmithError 2: RANK=1 is that of several processes: on ") for it in said)


def refusal(rank: int, monkeypatch: pytest.MonkeyPatch, seconds: float = 0.5, **variables: str) -> ConvsmithError:
    """What one of two processes is told, the other of which does not come."""
    for name, value in ({"MASTER_ADDR": "127.0.0.1"} | variables).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConvsmithError) as caught:
        meet(World(rank, 2, placed=False), timedelta(seconds=seconds))
    return caught.value


@pytest.fixture
def listener() -> Any:
    """Another program that listens, and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def port_of(server: socket.socket) -> str:
    return str(server.getsockname()[1])


@pytest.fixture
def free_port(listener: socket.socket) -> str:
    port = port_of(listener)
    listener.close()
    return port


def test_a_port_in_use_is_named(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    error = refusal(0, monkeypatch, 20, MASTER_PORT=port_of(listener))
    assert error.what == f"process 0 cannot listen at MASTER_PORT={port_of(listener)}"
    assert "another program, or another process with RANK=0" in error.why


def test_a_port_where_another_program_listens_is_named(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refusal(1, monkeypatch, MASTER_PORT=port_of(listener))
    assert error.what == f"what listens at 127.0.0.1:{port_of(listener)} is not process 0 of this training"
    assert "MASTER_PORT" in error.fix


def test_a_first_process_that_is_not_there_is_named(free_port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error = refusal(1, monkeypatch, MASTER_PORT=free_port)
    assert error.what == f"process 0 of this training does not listen at 127.0.0.1:{free_port}"
    assert error.exit_code == 3


def test_a_process_that_does_not_come_is_named(free_port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error = refusal(0, monkeypatch, MASTER_PORT=free_port)
    assert error.what == "process 1 of 2 has not come"
    assert error.exit_code == 3


def test_a_machine_that_does_not_exist_is_named(free_port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error = refusal(1, monkeypatch, MASTER_ADDR="nowhere.invalid", MASTER_PORT=free_port)
    assert error.what == "MASTER_ADDR is `nowhere.invalid`, and there is no machine of that name"


@pytest.mark.parametrize("name", ["eth99", "lo,eth99"])
def test_a_network_interface_that_does_not_exist_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error = refusal(0, monkeypatch, GLOO_SOCKET_IFNAME=name)
    assert error.what == f"GLOO_SOCKET_IFNAME is `{name}`"
    assert "no network interface `eth99`" in error.why
    assert "lo" in error.fix


def verdict(*arrivals: tuple[int, int], size: int = 2) -> ConvsmithError | None:
    """The first process's on those that have come, each with its rank and its number of processes."""
    store = HashStore()
    for rank, of_all in arrivals:
        own = rendezvous._Arrival(rank, of_all, "token", f"host{rank} boot")
        store.set(f"{rendezvous._ARRIVED}/{store.add(rendezvous._ARRIVED, 1)}", json.dumps(own))
    error, arrived = rendezvous._judge(World(0, size), store, "a:1", time.monotonic() - 1)
    assert len(arrived) == len(arrivals)
    return error


@pytest.mark.parametrize(
    ("arrivals", "size", "what"),
    [
        (((0, 2), (1, 2)), 2, None),
        (((0, 2), (1, 3)), 2, "WORLD_SIZE is not the same in all processes"),
        (((0, 3), (2, 3), (2, 3)), 3, "RANK=2 is that of several processes"),
        (((0, 2),), 2, "process 1 of 2 has not come"),
        (((0, 3),), 3, "processes 1, 2 of 3 have not come"),
        (((0, 6),), 6, "processes 1, 2, 3, 4, 5 of 6 have not come"),
        (((0, 7),), 7, "processes 1, 2, 3, 4, 5 ... of 7 have not come"),
    ],
)
def test_the_first_process_says_who_lacks(arrivals: Any, size: int, what: str | None) -> None:
    error = verdict(*arrivals, size=size)
    assert (error and error.what) == what


def test_where_a_rank_comes_twice_both_hosts_are_named() -> None:
    error = verdict((0, 2), (1, 2), (1, 2))
    assert error is not None
    assert error.why == "on host1 and host1"


def test_waiting_comes_to_an_end() -> None:
    assert rendezvous._wait(lambda: True, 0.0)
    assert not rendezvous._wait(lambda: False, time.monotonic() - 1)


def test_what_takes_long_is_noted_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    note = rendezvous.Note("it takes long")
    for now in (10.0, 10.1, 99.0):
        note.when_due()
        assert caplog.messages == (["it takes long"] if now > 10 else [])


@pytest.mark.parametrize(
    ("named", "begins"), [("", "Set GLOO_SOCKET_IFNAME to"), ("x", "GLOO_SOCKET_IFNAME is `x`: set")]
)
def test_the_network_interface_is_advised(named: str, begins: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", named)
    assert rendezvous.interface_error("because").fix.startswith(begins)
