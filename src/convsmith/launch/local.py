"""Several processes of one command on this machine, by torchrun's own agent."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convsmith.errors import ConvsmithError
from convsmith.launch.report import FOLDER_VARIABLE, OUT_OF_MEMORY, Report, reports

logger = logging.getLogger(__name__)

PATIENCE = 120
"""Seconds that processes which were asked to stop have to save what they did."""


class LaunchFailed(ConvsmithError):
    """What the processes could not put right themselves."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


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
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    # Else processes that are started again read addresses of those before from the agent's store.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    while True:
        try:
            _run(arguments, processes, max_restarts)
            return
        except LaunchFailed as error:
            if error.exit_code != OUT_OF_MEMORY:
                raise
            logger.warning("%s", error)


def _run(arguments: Sequence[str], processes: int, max_restarts: int) -> None:
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in list(logging.root.manager.loggerDict):  # each has a level of its own; the user gets one message, ours
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    agent = logging.getLogger("torch.distributed.elastic.agent.server.api")
    agent.setLevel(logging.INFO)
    agent.propagate = False
    with tempfile.TemporaryDirectory(prefix="convsmith-") as folder:
        os.environ[FOLDER_VARIABLE] = folder
        restarts = _Restarts(max_restarts, Path(folder))
        agent.addHandler(restarts)
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=str(os.getpid()),
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=max_restarts,
            signals_to_handle="SIGTERM,SIGINT,SIGUSR1,SIGHUP,SIGQUIT",
            shutdown_timeout=PATIENCE,
        )
        try:
            elastic_launch(config, sys.executable)("-m", "convsmith.cli.main", *arguments)
        except ChildFailedError as error:
            raise _failed(reports(Path(folder)), error.failures) from None
        except SignalException as error:
            raise _failed(reports(Path(folder)), {}, signal.Signals(error.sigval)) from None
        finally:
            del os.environ[FOLDER_VARIABLE]
            agent.removeHandler(restarts)


class _Restarts(logging.Handler):
    """Says that all begin again when torchrun's agent does so, which takes some seconds; the agent only logs it.

    After an error that no restart mends, the processes that the agent starts end at once: nothing is said of them.
    """

    def __init__(self, most: int, folder: Path) -> None:
        super().__init__()
        self._most, self._folder, self._count = most, folder, 0

    def emit(self, record: logging.LogRecord) -> None:
        if "will restart worker group" in record.getMessage() and not any(it.is_final for it in reports(self._folder)):
            self._count += 1
            logger.warning(
                "a process was lost: all start again from the last checkpoint (restart %d of %d)",
                self._count, self._most,
            )  # fmt: skip


def _failed(given: list[Report], failures: Mapping[int, Any], asked: signal.Signals | None = None) -> LaunchFailed:
    """The reason of all: a user's error, a process that died without a word, or the signal that ended them."""
    last = [one for one in given if one.attempt == max(report.attempt for report in given)]
    for report in given:
        if report.is_final:
            return LaunchFailed(report.message, report.exit_code)
    silent = failures.keys() - {report.rank for report in last}
    for rank, failure in failures.items():
        if rank in silent and failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM:
            name = signal.Signals(-failure.exitcode).name
            hint = " The machine may have run out of memory." if name == "SIGKILL" else ""
            return LaunchFailed(
                f"process {rank} was ended by {name}\nThe same command goes on from the last checkpoint.{hint}",
                128 - failure.exitcode,
            )
    for rank in sorted(silent):
        code = failures[rank].exitcode
        if code > 0:
            return LaunchFailed(f"process {rank} failed with exit code {code}; what it said is above", code)
    if last:
        # a signal is a reason, a lost peer only a consequence; of equals the first process speaks
        chosen = max(last, key=lambda report: (report.exit_code, -report.rank))
        return LaunchFailed(chosen.message, chosen.exit_code)
    number = asked or signal.SIGTERM
    return LaunchFailed(f"stopped by {number.name}\nThe same command goes on from the last checkpoint.", 128 + number)
