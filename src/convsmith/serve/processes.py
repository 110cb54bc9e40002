"""Several processes that answer at one address: their parent starts them, keeps them alive and ends them together."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from prometheus_client.multiprocess import mark_process_dead

from convsmith.allocation import keep_freed_memory
from convsmith.errors import ConvsmithError
from convsmith.machine import available_cores
from convsmith.output import output_that_may_be_lost
from convsmith.serve.metrics import FOLDER
from convsmith.serve.service import share_cores
from convsmith.serve.settings import Settings
from convsmith.system import end_with, signals

logger = logging.getLogger(__name__)

Serve = Callable[[socket.socket, Callable[[str], None]], None]
"""Serves a socket until a signal comes; what it is given is called once it is ready, with what there is to print."""

SOON = 10.0  # seconds: a process that ends sooner than that would do so again
LONGEST_PAUSE = 30.0  # before it is started again


def share_out(settings: Settings, processes: int, cores: int | None = None) -> Settings:
    """The settings of each of some processes, whose workers and threads take no more than its part of the cores.

    Raises:
        ConvsmithError: all together would take more cores than there are.
    """
    cores = cores or available_cores()
    if processes > cores:
        raise ConvsmithError(f"--processes {processes} takes {processes} cores", f"this process may use {cores}")
    try:
        workers, threads = share_cores(settings.workers, settings.threads, cores // processes)
    except ConvsmithError as error:
        raise ConvsmithError(
            f"{error.what} in each of {processes} processes", f"there are {cores} for all of them", error.fix
        ) from error
    return replace(settings, workers=workers, threads=threads)


@contextmanager
def shared_metrics() -> Iterator[None]:
    """Let the processes that are started in the block put their numbers into one folder, where there is room for it."""
    if FOLDER in os.environ:
        yield
        return
    try:
        folder = tempfile.mkdtemp(prefix="convsmith-metrics-")
    except OSError as error:  # each process shows its own then
        logger.warning("the numbers of the processes are not added up, without a temporary folder: %s", error)
        yield
        return
    os.environ[FOLDER] = folder
    try:
        yield
    finally:
        del os.environ[FOLDER]
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(eq=False)
class _Child:
    process: SpawnProcess
    words: Connection
    started: float
    ready: str | None = None
    failure: ConvsmithError | None = None

    def listen(self) -> None:
        """Take in what it has said."""
        with suppress(EOFError):  # it has ended
            while self.words.poll():
                said = self.words.recv()
                if isinstance(said, ConvsmithError):
                    self.failure = said
                else:
                    self.ready = said

    def end(self, number: int) -> None:
        """Send it a signal, or the one that ends it where it cannot heed others yet."""
        if self.process.pid and self.process.exitcode is None:
            os.kill(self.process.pid, number if self.ready else signal.SIGTERM)


class Processes:
    """Processes that serve one socket.

    Args:
        count: how many.
        serve: what each does; it can be pickled.
        listener: the socket, which is closed at the end.
        announce: called once, when all are ready, with what the first of them says.
    """

    def __init__(self, count: int, serve: Serve, listener: socket.socket, announce: Callable[[str], None]) -> None:
        self._serve, self._listener, self._announce = serve, listener, announce
        self._count = count
        self._due = [0.0] * count  # when those that are to be started are
        self._children: list[_Child] = []
        self._heard, self._hears = multiprocessing.Pipe(duplex=False)
        self._failure: ConvsmithError | None = None
        self._pause, self._announced, self._leaving = 0.0, False, False

    def run(self) -> None:
        """Serve until a signal comes, which all of them get; return when they have ended.

        A process that ends by itself is started again, later each time where it ends soon.

        Raises:
            ConvsmithError: one of them ended before all were ready.
        """
        hangups = [number for number in signals("SIGHUP") if signal.getsignal(number) is signal.SIG_DFL]
        for number in (signal.SIGTERM, signal.SIGINT, *hangups):
            signal.signal(number, lambda number, _: self._hears.send(number))
        for number in signals("SIGUSR1", "SIGUSR2"):
            signal.signal(number, signal.SIG_IGN)
        while self._children or self._due:
            self._start_those_due()
            self._wait()
            for child in list(self._children):
                child.listen()
                if child.process.exitcode is not None:
                    self._bury(child)
            texts = [child.ready for child in self._children if child.ready]
            if len(texts) == self._count and not self._announced:
                self._announced = True
                self._announce(texts[0])
        if self._failure:
            raise self._failure

    def _start_those_due(self) -> None:
        for due in [due for due in self._due if due <= time.monotonic()]:
            self._due.remove(due)
            words, says = multiprocessing.Pipe(duplex=False)
            arguments = self._serve, self._listener, says, os.getpid()
            process = multiprocessing.get_context("spawn").Process(target=_serve, args=arguments)
            process.start()
            says.close()
            self._children.append(_Child(process, words, time.monotonic()))

    def _wait(self) -> None:
        """Until a process says something or ends, a signal comes, or it is time to start one."""
        pause = max(0.0, min(self._due) - time.monotonic()) if self._due else None
        wait([self._heard, *(it for child in self._children for it in (child.process.sentinel, child.words))], pause)
        while self._heard.poll():
            self._leave(self._heard.recv())

    def _leave(self, number: int) -> None:
        self._leaving = True
        self._due.clear()
        self._listener.close()
        for child in self._children:
            child.end(number)

    def _bury(self, child: _Child) -> None:
        self._children.remove(child)
        child.words.close()
        mark_process_dead(child.process.pid)  # type: ignore[no-untyped-call]
        if self._leaving:
            return
        code = child.process.exitcode
        if not self._announced:
            why = f"its exit code is {code}"
            self._failure = child.failure or ConvsmithError("a process of the server ended before it was ready", why)
            self._leave(signal.SIGTERM)
            return
        soon = time.monotonic() - child.started < SOON
        self._pause = min(LONGEST_PAUSE, max(1.0, 2 * self._pause)) if soon else 0.0
        self._due.append(time.monotonic() + self._pause)
        reason = child.failure or f"its exit code is {code}"
        logger.error("a process of the server ended, and is started again: %s", reason)


def _serve(serve: Serve, listener: socket.socket, says: Connection, parent: int) -> None:
    """Serve in a process of its own, that a terminal's Ctrl-C reaches by its parent alone."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    end_with(parent)
    keep_freed_memory()  # as in the command
    warnings.filterwarnings("ignore", module=r"PIL\.")
    with output_that_may_be_lost():
        try:
            serve(listener, says.send)
        except ConvsmithError as error:
            says.send(error)
            sys.exit(error.exit_code)
