"""How processes on several machines find each other, and find out when they never will."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from torch._C._distributed_c10d import Store, TCPStore

from convsmith.errors import ConvsmithError
from convsmith.launch.report import PEER_LOST
from convsmith.launch.world import World, meeting_point

logger = logging.getLogger(__name__)

_PATIENCE = 30.0  # seconds for what should take less than one
_NOTE_AFTER = 10.0
_ARRIVED, _VERDICT, _HEARD = (f"convsmith/{word}" for word in ("arrived", "verdict", "heard"))


class PeerLost(ConvsmithError):
    """Another process has ended or does not answer."""

    exit_code = PEER_LOST


class _Arrival(NamedTuple):
    """A process that has come, and what it was given."""

    rank: int
    size: int
    token: str
    host: str


def meet(world: World, timeout: timedelta) -> tuple[World, Store | None]:
    """Wait until all processes have come; the world with this one's place in it, and the store that they share.

    The store is None under torchrun, whose agent has one.

    Raises:
        ConvsmithError: they were not told the same, or a variable of the environment cannot be right.
        PeerLost: they have not come in time.
    """
    _check_interfaces()
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == str(True):
        return world, None
    address, port = meeting_point(world)
    deadline = time.monotonic() + timeout.total_seconds()
    _resolve(address, port, min(deadline, time.monotonic() + _PATIENCE))
    if not world.leads:
        _wait_for_the_first(world, address, port, deadline)
    store = _store(world, address, port, timeout)
    hosts = _arrive(world, store, f"{address}:{port}", deadline)
    if not world.placed:
        own = [rank for rank, host in enumerate(hosts) if host == hosts[world.rank]]
        world = replace(world, local_rank=own.index(world.rank), local_size=len(own), placed=True)
    return world, store


def interface_error(reason: str) -> ConvsmithError:
    """The error of processes that have met, but cannot connect to each other."""
    named = os.environ.get("GLOO_SOCKET_IFNAME")
    return PeerLost(
        "the processes of this training have met, but cannot connect to each other",
        reason,
        (f"GLOO_SOCKET_IFNAME is `{named}`: set" if named else "Set")
        + " GLOO_SOCKET_IFNAME to the network interface by which the machines see each other "
        f"(here there are {', '.join(_interfaces())}), and let them connect on all ports.",
    )


def _check_interfaces() -> None:
    for name in filter(None, os.environ.get("GLOO_SOCKET_IFNAME", "").split(",")):
        if name not in _interfaces():
            raise ConvsmithError(
                f"GLOO_SOCKET_IFNAME is `{os.environ['GLOO_SOCKET_IFNAME']}`",
                f"there is no network interface `{name}` on this machine",
                f"Set it to one of {', '.join(_interfaces())}, or unset it.",
            )


def _interfaces() -> list[str]:
    return [name for _, name in socket.if_nameindex()]


def _resolve(address: str, port: int, deadline: float) -> None:
    """Wait for the name of a machine that has just started, which is new to the network."""
    while True:
        try:
            socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
            return
        except (OSError, UnicodeError) as error:
            if time.monotonic() > deadline:
                raise ConvsmithError(
                    f"MASTER_ADDR is `{address}`, and there is no machine of that name",
                    getattr(error, "strerror", None) or str(error),
                    "Set it to the address of the machine of process 0, for all of them.",
                ) from error
        time.sleep(0.5)


def _wait_for_the_first(world: World, address: str, port: int, deadline: float) -> None:
    """Wait until something listens there: torch would wait too, but says much of it."""
    noted = Note(f"process {world.rank} waits for process 0 to listen at {address}:{port} (MASTER_ADDR, MASTER_PORT)")
    while True:
        try:
            socket.create_connection((address, port), timeout=max(0.1, min(5.0, deadline - time.monotonic()))).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise PeerLost(
                    f"process 0 of this training does not listen at {address}:{port}",
                    error.strerror or str(error),
                    "Start process 0 too, with the same MASTER_ADDR and MASTER_PORT, on the machine of that address.",
                ) from error
        noted.when_due()
        time.sleep(0.1)


def _store(world: World, address: str, port: int, timeout: timedelta) -> Store:
    """The store at the first process. ConvsmithError if it cannot be opened, or if something else answers there."""
    found: list[Store | Exception] = []

    def connect() -> None:
        try:
            found.append(
                TCPStore(
                    address, port, is_master=world.leads, timeout=timeout, wait_for_workers=False, multi_tenant=True
                )
            )
        except Exception as error:
            found.append(error)

    # in a thread: where another program listens, torch waits for its answer for ever
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(min(timeout.total_seconds(), _PATIENCE))
    if found and isinstance(found[0], Store):
        return found[0]
    reason = str(found[0]).splitlines()[0] if found else "it does not answer as convsmith does"
    if "failed to listen" in reason:
        why = reason.rpartition("message: ")[2]
        raise ConvsmithError(
            f"process 0 cannot listen at MASTER_PORT={port}",
            why if why != "address already in use" else "another program, or another process with RANK=0, does",
            "Set MASTER_PORT to a port that is free on this machine, for all processes.",
        )
    raise ConvsmithError(
        f"what listens at {address}:{port} is not process 0 of this training",
        reason,
        "Set MASTER_ADDR to the address of the machine of process 0, and MASTER_PORT to a port that is free there.",
    )


def _arrive(world: World, store: Store, place: str, deadline: float) -> list[str]:
    """Tell the first process that this one has come, and hear of it that all have; the host of each."""
    own = _Arrival(world.rank, world.size, uuid4().hex, _this_host())
    store.set(f"{_ARRIVED}/{store.add(_ARRIVED, 1)}", json.dumps(own))
    if world.leads:
        error, arrived = _judge(world, store, place, deadline)
        store.set(_VERDICT, json.dumps([error and error.args, sorted(arrived)]))
        if error:
            _wait(lambda: store.add(_HEARD, 0) >= len(arrived) - 1, time.monotonic() + 5)
            raise error
    elif not _wait(lambda: store.check([_VERDICT]), deadline + _PATIENCE):
        raise PeerLost("process 0 of this training has not answered", f"at {place}", _GO_ON)
    said, arrived = json.loads(store.get(_VERDICT))
    if not world.leads:
        store.add(_HEARD, 1)
    if said:
        raise PeerLost(*said) if said[2] == _GO_ON else ConvsmithError(*said)
    if list(own) not in [list(it) for it in arrived]:
        raise ConvsmithError(
            f"there is another process with RANK={world.rank} at {place}",
            "it came first",
            "Give each process a RANK of its own, and each training a MASTER_PORT of its own.",
        )
    return [_Arrival(*it).host for it in arrived]


_GO_ON = "Start all of them, with the same MASTER_ADDR, MASTER_PORT and WORLD_SIZE; the same command goes on."


def _judge(world: World, store: Store, place: str, deadline: float) -> tuple[ConvsmithError | None, list[_Arrival]]:
    """The verdict of the first process on those that come: an error for all, if any, and who has come."""
    arrived: list[_Arrival] = []
    noted = Note(f"process 0 waits at {place} for the others")
    while True:
        keys = [f"{_ARRIVED}/{number}" for number in range(1 + len(arrived), 1 + store.add(_ARRIVED, 0))]
        arrived += [_Arrival(*json.loads(store.get(key))) for key in keys]
        ranks = [it.rank for it in arrived]
        if len({it.size for it in arrived}) > 1:
            sizes = ", ".join(f"{it.size} in process {it.rank}" for it in arrived)
            return ConvsmithError(
                "WORLD_SIZE is not the same in all processes", sizes, "Set it to the number of all processes."
            ), arrived
        if twice := {rank for rank in ranks if ranks.count(rank) > 1}:
            rank = min(twice)
            hosts = " and ".join(it.host.partition(" ")[0] for it in arrived if it.rank == rank)
            return ConvsmithError(
                f"RANK={rank} is that of several processes", f"on {hosts}", "Give each process a RANK of its own."
            ), arrived
        missing = sorted(set(range(world.size)) - set(ranks))
        if not missing:
            return None, arrived
        if time.monotonic() > deadline:
            some = ", ".join(map(str, missing[:5])) + ("" if len(missing) <= 5 else " ...")
            what = (
                f"process{'es' * (len(missing) > 1)} {some} of {world.size} {'have' if missing[1:] else 'has'} not come"
            )
            return PeerLost(
                what, f"process 0 has waited at {place} for as long as --peer-timeout says", _GO_ON
            ), arrived
        noted.when_due()
        time.sleep(0.05)


class Note:
    """A line to be logged once if something takes long."""

    def __init__(self, text: str) -> None:
        self._text, self._due = text, time.monotonic() + _NOTE_AFTER

    def when_due(self) -> None:
        """Log it, if it is time and it was not logged before."""
        if time.monotonic() > self._due:
            self._due = float("inf")
            logger.warning("%s", self._text)


def _wait(until: Callable[[], bool], deadline: float) -> bool:
    """Whether it came true in time; unlike waiting in torch, Ctrl-C ends it."""
    while not until():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _this_host() -> str:
    """Names this machine, or this container, which has devices of its own."""
    try:
        return f"{socket.gethostname()} {Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"
    except OSError:
        return socket.gethostname()
