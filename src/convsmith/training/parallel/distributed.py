"""Messages between processes that train together. One alone says nothing, and pays nothing."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch._C._distributed_c10d import Store

from convsmith.errors import ConvsmithError, counted
from convsmith.launch.report import PEER_LOST
from convsmith.launch.world import TIMEOUT, World
from convsmith.training.parallel.rendezvous import PeerLost, interface_error, meet
from convsmith.training.precision import accelerator
from convsmith.training.signals import StopRequest

logger = logging.getLogger(__name__)

T = TypeVar("T")


@contextmanager
def joined(timeout: timedelta = TIMEOUT, sharded: bool = False) -> Iterator[World]:
    """Train together with the processes that a launcher started beside this one: gloo between CPUs, NCCL between GPUs.

    The GPU of this process becomes the current device. A process whose launcher dies ends too: it would go on unseen.

    Args:
        timeout: how long one waits for the others.
        sharded: each keeps only its share of the model; one process alone keeps all of it.

    Raises:
        ConvsmithError: there are more processes than GPUs, or the environment does not let them meet.
        PeerLost: one has not come in time; or in the block, one has ended, or did not answer for `timeout`.
    """
    world = World.of_environment()
    if world.size == 1:
        yield world
        return
    world = replace(world, sharded=sharded, timeout=timeout)
    # The group's threads have to end before the interpreter: one that frees a tensor of Python's while that ends aborts
    # the process. So nothing may hold on to the group, as _dynamo, which DDP needs, does when it is imported later.
    importlib.import_module("torch._dynamo")
    with _lost_peers_are_errors(timeout), _ends_with_the_launcher():
        world, store = meet(world, timeout)
        _connect(world, store)
        if world.leads and store is None:
            _warn_of_restarts()
        yield world
    gc.collect()  # a DDP that waits for it
    dist.destroy_process_group()


def _connect(world: World, store: Store | None) -> None:
    """Make the group of all processes, with the GPU of this one, if there is one, as the current device."""
    kind, backend = accelerator(together=True), "gloo"
    gpus = torch.get_device_module(kind.name)
    if kind.name != "cpu":
        gpus.set_device(own_gpu(world, gpus.device_count()))
        backend = f"cpu:gloo,{kind.name}:{kind.group}"
    if store is None:
        dist.init_process_group(backend, timeout=world.timeout)
    else:
        try:
            dist.init_process_group(backend, store=store, rank=world.rank, world_size=world.size, timeout=world.timeout)
        except RuntimeError as error:
            raise interface_error(str(error).splitlines()[0]) from error
    if kind.name != "cpu":
        refuse_shared_gpus(gather(world, str(gpus.get_device_properties().uuid)))


def own_gpu(world: World, seen: int) -> int:
    """The number of this process's GPU among those that it sees: 0 where each is shown its own only, as by Slurm.

    Raises:
        ConvsmithError: it sees some, but fewer than there are processes.
    """
    if 1 < seen < world.local_size:
        raise _shared(world.local_size, seen)
    return world.local_rank if seen > 1 else 0


def refuse_shared_gpus(gpus: Sequence[str]) -> None:
    """Raise a ConvsmithError if two processes have the same GPU, given the id of each one's."""
    if len(set(gpus)) < len(gpus):
        raise _shared(len(gpus), len(set(gpus)))


def _shared(processes: int, gpus: int) -> ConvsmithError:
    return ConvsmithError(
        f"{processes} processes cannot share {counted(gpus, 'GPU')}",
        "each needs its own",
        "Give --devices the number of GPUs.",
    )


def gather(world: World, value: T, group: dist.ProcessGroup | None = None) -> list[T]:
    """The value of each process, in order; to all of them. Messages of one group do not wait for another's."""
    if world.size == 1:
        return [value]
    values: list[Any] = [None] * world.size
    dist.all_gather_object(values, value, group)
    return values


def broadcast(world: World, value: T, group: dist.ProcessGroup | None = None) -> T:
    """The value that the first process gives; to all of them. Messages of one group do not wait for another's."""
    if world.size == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0, group=group)
    return values[0]


def share_buffers(world: World, model: nn.Module) -> None:
    """Give every process the first one's buffers: the BatchNorms of each have seen other images."""
    if world.size > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def rest_before_fork(world: World) -> None:
    """Let gloo's threads free the last messages, for which they enter the interpreter.

    If one does that while this process forks, CPython 3.11 leaves its list of threads locked in the new one for ever.
    """
    if world.size > 1:
        time.sleep(0.05)


class Poll:
    """A poll of all processes: if one wants to stop, or to save a checkpoint, all do.

    They agree while a step is computed, so that none waits for the answer. A signal that one process got becomes that
    of all. One process alone takes notice of a signal at once.

    Args:
        world: the processes.
        stop: takes note of this one's signals, and of the signal that is agreed on.
    """

    def __init__(self, world: World, stop: StopRequest) -> None:
        self._world, self.stop = world, stop
        self._saving = False
        self._pending: tuple[Tensor, dist.Work] | None = None
        self._agreed = self._diverged = False

    @property
    def asked(self) -> bool:
        """Whether this process has been asked to stop."""
        return bool(self.stop)

    @property
    def stopping(self) -> bool:
        """Whether all stop."""
        return bool(self.stop) if self._world.size == 1 else self._agreed

    @property
    def saving(self) -> bool:
        """Whether all save."""
        return self._saving

    @property
    def diverged(self) -> bool:
        """Whether the loss of one of them has not been finite for long."""
        return self._diverged

    def open(self, save: bool = False, diverged: bool = False) -> None:
        """Say what this process wants, and how it fares."""
        self._saving, self._diverged = save, diverged
        if self._world.size > 1:
            wishes = torch.tensor([self.stop.signal or 0, save, diverged])
            work = dist.all_reduce(wishes, dist.ReduceOp.MAX, async_op=True)
            assert work is not None
            self._pending = wishes, work

    def close(self) -> None:
        """Learn what all do."""
        if self._pending is not None:
            wishes, work = self._pending
            work.wait()
            number, save, diverged = wishes.tolist()
            self._pending, self._agreed = None, bool(number)
            self._saving, self._diverged = bool(save), bool(diverged)
            if number and self.stop.signal is None:
                self.stop.signal = signal.Signals(number)

    def leaving_at_once(self) -> AbstractContextManager[None]:
        """Let a signal end the block by a StopNow, unless other processes would then wait for this one."""
        return self.stop.at_once() if self._world.size == 1 else nullcontext()

    def now(self) -> bool:
        """Agree at once; whether all stop."""
        self.open()
        self.close()
        return self.stopping


# Most of its messages begin with the path of its source file; one that went unheard for too long does not.
_OF_GLOO = re.compile(r"gloo|pair closure")


@contextmanager
def _lost_peers_are_errors(timeout: timedelta) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if not isinstance(error, dist.DistError) and not _OF_GLOO.search(text):
            raise
        silent = any(word in text.lower() for word in ("timed out", "timeout"))
        raise PeerLost(
            f"another process of this training has not answered for {timeout.total_seconds():g} seconds"
            if silent
            else "another process of this training has ended",
            text.splitlines()[0],
            "The same command goes on from the last checkpoint.",
        ) from error


@contextmanager
def _ends_with_the_launcher() -> Iterator[None]:
    launcher, left = os.getppid(), threading.Event()

    def watch() -> None:
        while not left.wait(0.2):
            if os.getppid() != launcher:
                os._exit(PEER_LOST)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        left.set()


def _warn_of_restarts() -> None:
    if int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")):
        logger.warning("--max-restarts: set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1, or restarts can fail")
