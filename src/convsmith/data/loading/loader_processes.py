"""The processes that load batches: how they begin, and why they end."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import threading
import weakref
from collections.abc import Container, Iterable, Iterator, Sequence
from multiprocessing import parent_process
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import torch
from torch._C import _remove_worker_pids
from torch.utils.data import DataLoader, Dataset, get_worker_info

from convsmith.allocation import keep_freed_memory
from convsmith.data.loading.handing_over import AHEAD, HandOver, forget_rooms
from convsmith.data.loading.stopped import stopped_are_killed, stopped_error
from convsmith.errors import ConvsmithError, of_system
from convsmith.system import KILL, end_with, signals
from convsmith.waiting import reading_in_time

Loaded = TypeVar("Loaded", bound=Iterable[Any])


def loader(
    samples: Dataset[Loaded], batches: Iterable[Any], workers: int, persistent: bool = False
) -> DataLoader[Loaded]:
    """Give `samples[batch]` for each of `batches`, in their order, as so many processes load them.

    While they are iterated, an error says why a process has died, or that it was stopped, or waits for a disk.

    Args:
        samples: makes a batch, some of whose values are tensors. Its ConvsmithErrors are raised where it is asked for.
        batches: what a batch is made of.
        workers: how many processes; 0 loads in this one.
        persistent: they stay from one iteration to the next.
    """
    return _Loader(
        _Answers(samples),
        batch_size=None,  # the sampler yields whole batches
        sampler=batches,
        num_workers=workers,
        persistent_workers=persistent,
        prefetch_factor=AHEAD if workers else None,
        collate_fn=HandOver() if workers else _as_it_is,
        pin_memory=torch.cuda.is_available() or torch.xpu.is_available(),
        worker_init_fn=_begin_worker,
        # fork starts at once, shares the index for nothing and needs no `__main__` guard in scripts. Workers run
        # Pillow, and torch on one thread, which wait for nothing that other threads here (torch's, onnxruntime's,
        # a progress bar's) hold at the fork. Workers of a forkserver live on for ever when this process is killed.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        generator=torch.Generator(),  # else starting the loader would draw from the trainer's own generator
    )


class _Answers(Dataset[Any]):
    """Batches, or the error in place of one, which torch would tell by a traceback of the process that met it."""

    def __init__(self, batches: Dataset[Any]) -> None:
        self.batches = batches

    def __getitem__(self, positions: Any) -> Any:
        try:
            if get_worker_info() is None:  # in the trainer itself, whose main thread is the one to compute
                return self.batches[positions]
            return reading_in_time(lambda: self.batches[positions])
        except ConvsmithError as error:
            return error


class _Loader(DataLoader[Loaded]):
    """A loader that says why it ends: its processes die, are stopped, wait for a disk, or have no shared memory."""

    def __iter__(self) -> Iterator[Loaded]:  # type: ignore[override]
        batches: Any = self._iterator  # whose processes stay from one iteration to the next, where there are any
        processes = [*_processes_of(batches)]
        with stopped_are_killed(processes) as stopped:
            try:
                batches = super().__iter__()
                processes[:] = _processes_of(batches)
                weakref.finalize(batches, forget_rooms, [process.pid for process in processes])
                for batch in batches:
                    if isinstance(batch, ConvsmithError):
                        raise batch
                    yield batch
            except (ConvsmithError, OSError, RuntimeError, EOFError) as error:
                reason = _reason(error, processes, stopped)
                _end(batches, processes)
                self._iterator = None
                if reason is error:
                    raise
                raise reason from error


def _processes_of(batches: Any) -> list[BaseProcess]:
    """The processes of one of torch's iterators. Their deaths are noticed where a batch is waited for, as of now.

    torch raises by a handler of SIGCHLD: in the main thread, wherever that may be, and once for each that dies.
    """
    if getattr(batches, "_worker_pids_set", False):
        _remove_worker_pids(id(batches))
        batches._worker_pids_set = False
    return getattr(batches, "_workers", [])


def _end(batches: Any, processes: Sequence[BaseProcess]) -> None:
    """Kill the processes of an iterator that has failed: one that waits for a disk would not end by itself.

    torch would ask them to end, and wait for ever for a lock that one of them held when it was killed.
    """
    for process in processes:
        process.kill()
    if processes:
        batches._shutdown = True
    if hasattr(batches, "_pin_memory_thread_done_event"):
        batches._pin_memory_thread_done_event.set()


def _reason(error: Exception, processes: Sequence[BaseProcess], stopped: Container[int]) -> Exception:
    """Find the error to raise for what a loader with these processes has raised."""
    if isinstance(error, ConvsmithError):
        return error
    lines = [line for line in str(error).splitlines() if _NO_SHARED_MEMORY.search(line)]
    if lines:
        return _shared_memory_error(lines[-1])
    ending = wait([process.sentinel for process in processes], timeout=_ENDING)
    for process in processes:
        if process.sentinel in ending:
            process.join(_ENDING)
        if process.exitcode is not None:
            assert process.pid
            return stopped_error(process.pid, "loads images") if process.pid in stopped else _death_of(process)
    if isinstance(error, OSError) and error.errno in _OF_SEMAPHORES:
        return _shared_memory_error(os.strerror(error.errno))
    if isinstance(error, OSError):  # of the pipes to the processes, or of starting them
        return of_system(error, "the loader's processes cannot begin")
    return error


_ENDING = 1  # seconds from the end of a process's connections to its own

_OF_SEMAPHORES = (errno.EACCES, errno.EPERM, errno.ENOSYS)  # which are files of /dev/shm

# Said where a semaphore or a tensor finds no room.
_NO_SHARED_MEMORY = re.compile(
    "No space left on device|Read-only file system|unable to .*shared memory|out of shared memory"
)


def _shared_memory_error(why: str) -> ConvsmithError:
    full = "No space left" in why or "SIGBUS" in why
    room = "give it more room (docker run --shm-size=8g)" if full else "let it be written"
    return ConvsmithError(
        f"the shared memory of this machine {'is full' if full else 'cannot be used'}",
        why,
        f"The loader's processes hand over images in /dev/shm: {room}, or set data.workers=0. "
        "The same command goes on from the last checkpoint.",
    )


def _death_of(process: BaseProcess) -> ConvsmithError:
    """The error for a process that has ended by itself, or was killed; its exit code lets a launcher start again."""
    code = process.exitcode or 0
    ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    if -code == getattr(signal, "SIGBUS", None):  # it had written where there is no room
        return _shared_memory_error(f"process {process.pid} {ended}")
    why, fix = "", "Set data.workers=0 to see what it is."
    if -code == KILL:
        why, fix = "the system does that when memory is full", "Set data.workers to a smaller number, or free memory."
    told = ConvsmithError(
        f"a process that loads images has died (pid {process.pid}): it {ended}",
        why,
        f"{fix} The same command goes on from the last checkpoint.",
    )
    told.exit_code = 128 + KILL
    return told


def _as_it_is(batch: Any) -> Any:
    return batch


def _begin_worker(_worker: int) -> None:
    main_process = parent_process()
    assert main_process is not None
    assert main_process.pid is not None
    end_with(main_process.pid)
    keep_freed_memory()  # a process that is not forked has not inherited it
    _leave_signals_to(main_process.pid)


def _leave_signals_to(main_process: int) -> None:
    """Let a worker outlive a signal for all processes, such as Ctrl-C: the main one still needs its batches.

    Only the main process itself may end a worker by SIGTERM, as it does when it exits with a loader still running.
    """
    for number in signals("SIGINT", "SIGUSR1", "SIGHUP"):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_wait_for_the_end, args=(main_process,), daemon=True).start()


def _wait_for_the_end(main_process: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != main_process:
        pass
    os._exit(0)  # another status would make torch raise in the main process, which is on its way out
