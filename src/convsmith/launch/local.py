"""Several processes of one command on this machine."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from convsmith.errors import ConvsmithError
from convsmith.launch.report import FOLDER_VARIABLE, OUT_OF_MEMORY, PEER_LOST, Report, reports
from convsmith.system import kill_all_of, signals

logger = logging.getLogger(__name__)

PATIENCE = 120
"""Seconds that processes which were asked to stop have to save what they did."""

_AFTER_A_FAILURE = 30  # seconds that the others have to end when one has failed
_OF_THE_SILENT = 3  # and those have that the others waited for in vain
_SIGNALS = signals("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP", "SIGQUIT")

_Process = subprocess.Popen[bytes]


class LaunchFailed(ConvsmithError):
    """An error that the processes could not put right themselves.

    Args:
        message: for the user.
        exit_code: what the command line exits with.
        is_final: whether starting again would end the same way.
    """

    def __init__(self, message: str, exit_code: int, is_final: bool = False) -> None:
        super().__init__(message)
        self.exit_code, self.is_final = exit_code, is_final


def launch(arguments: Sequence[str], processes: int, threads: int, max_restarts: int = 0) -> None:
    """Run the command `convsmith ARGUMENTS` in so many processes, until all have ended well.

    Where memory was too small for one of them, they begin again with smaller forward passes.

    They share this process's standard output and error. SIGTERM, SIGINT, SIGUSR1, SIGHUP and SIGQUIT are passed on to
    them, and they have `PATIENCE` seconds to end.

    Args:
        arguments: of the command line.
        processes: how many, each with its rank in torchrun's environment variables.
        threads: that each computes with, unless `OMP_NUM_THREADS` says otherwise.
        max_restarts: how often all of them are started again after one was lost. An error that the user has to put
            right ends them at once.

    Raises:
        LaunchFailed: one has failed; the message and the exit code are those of the process that failed first.
    """
    variables = {"OMP_NUM_THREADS": str(threads), **os.environ}
    restarts = 0
    while True:
        try:
            _run(arguments, processes, variables)
            return
        except LaunchFailed as error:
            if error.exit_code == OUT_OF_MEMORY:
                logger.warning("%s", error)
                continue
            if error.is_final or restarts == max_restarts:
                raise
        restarts += 1
        logger.warning(
            "a process was lost: all start again from the last checkpoint (restart %d of %d)", restarts, max_restarts
        )


def _run(arguments: Sequence[str], processes: int, variables: Mapping[str, str]) -> None:
    command = [sys.executable, "-m", "convsmith.cli.main", *arguments]
    started: list[_Process] = []
    with tempfile.TemporaryDirectory(prefix="convsmith-") as folder, _port() as port, _passing_on(started) as came:
        inherited = {name: value for name, value in variables.items() if not name.startswith("TORCHELASTIC_")}
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), FOLDER_VARIABLE: folder}
        for rank in range(processes):
            place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
            environment = {**inherited, **meeting, **{name: str(value) for name, value in place.items()}}
            # in a session of its own, or Ctrl-C would reach it twice
            started.append(subprocess.Popen(command, env=environment, start_new_session=True))
        codes, killed = _wait(started, came)
        if any(codes.values()) or killed:
            raise _failed(reports(Path(folder)), codes, killed, came[0] if came else None)


def _wait(started: Sequence[_Process], came: Sequence[signal.Signals]) -> tuple[dict[int, int], list[int]]:
    """Wait until all have ended; exit codes of those that ended by themselves, and the ranks of those that did not."""
    deadline, ending = float("inf"), set[int]()
    while running := [rank for rank, process in enumerate(started) if process.poll() is None]:
        codes = {rank: it.returncode for rank, it in enumerate(started) if it.returncode and rank not in ending}
        if came and deadline == float("inf"):
            deadline = time.monotonic() + PATIENCE
        elif codes and not ending and not came:
            silent = set(codes.values()) == {PEER_LOST}  # else the one that they have lost would have ended before them
            deadline, ending = time.monotonic() + (_OF_THE_SILENT if silent else _AFTER_A_FAILURE), set(running)
            for rank in running:
                started[rank].terminate()
        if time.monotonic() > deadline:
            for rank in running:
                _kill(started[rank])
            break
        time.sleep(0.05)
    own = {
        rank: process.returncode
        for rank, process in enumerate(started)
        if rank not in running and (rank not in ending or process.returncode != -signal.SIGTERM)
    }
    return own, running


def _kill(process: _Process) -> None:
    """End the process and all that it has started; one that waits for a dead disk may be left behind."""
    with suppress(ProcessLookupError):
        kill_all_of(process)
    with suppress(subprocess.TimeoutExpired):
        process.wait(5)


@contextmanager
def _port() -> Iterator[int]:
    """A port that no other process is given in the block, because it is bound; one that asks for it may listen."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


@contextmanager
def _passing_on(started: Sequence[_Process]) -> Iterator[list[signal.Signals]]:
    """Pass signals on to the processes in the block; those that came. A SIGHUP that `nohup` ignores stays ignored.

    Outside the main thread none comes.
    """
    came: list[signal.Signals] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        came.append(signal.Signals(number))
        for process in started:
            process.send_signal(number)

    numbers = _SIGNALS if threading.current_thread() is threading.main_thread() else ()  # others have none
    before = {it: signal.signal(it, pass_on) for it in numbers if signal.getsignal(it) != signal.SIG_IGN}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _failed(
    given: Sequence[Report], codes: Mapping[int, int], killed: Sequence[int] = (), asked: signal.Signals | None = None
) -> LaunchFailed:
    """The reason of all: a user's error, a process that died without a word, or the signal that ended them.

    Args:
        given: what they reported.
        codes: exit codes of those that ended by themselves.
        killed: ranks of those that did not.
        asked: the signal that asked all to end.
    """
    for report in given:
        if report.is_final:
            return LaunchFailed(report.message, report.exit_code, is_final=True)
    silent = {rank: code for rank, code in codes.items() if code and rank not in {report.rank for report in given}}
    for rank, code in sorted(silent.items()):
        if code < 0 and -code != asked:
            name = signal.Signals(-code).name
            hint = " The machine may have run out of memory." if name == "SIGKILL" else ""
            return LaunchFailed(
                f"process {rank} was ended by {name}\nThe same command goes on from the last checkpoint.{hint}",
                128 - code,
                is_final=asked is not None,
            )
    for rank, code in sorted(silent.items()):
        if code > 0:
            message = f"process {rank} failed with exit code {code}; what it said is above"
            return LaunchFailed(message, code, is_final=asked is not None)
    if given:
        # a signal is a reason, a lost peer only a consequence; of equals the one that came first
        chosen = max(given, key=lambda report: (report.exit_code, -report.moment))
        ended = f"\nprocess {', '.join(map(str, killed))} did not end, and was killed" if killed else ""
        return LaunchFailed(chosen.message + ended, chosen.exit_code, is_final=asked is not None)
    number = asked or signal.SIGTERM
    message = f"stopped by {number.name}\nThe same command goes on from the last checkpoint."
    return LaunchFailed(message, 128 + number, is_final=asked is not None)
