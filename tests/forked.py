"""Processes that begin with torch loaded, which takes longer than most tests: forked from one that only has that.

It has computed nothing, and exported one model without weights, so that gloo, autograd and signals are as in a process
that was started by hand.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from unittest import mock

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.preloaded"])


class Command:
    """A running `convsmith WORDS`.

    Args:
        words: of the command line.
        errors: the file that its standard error goes to.
        packed: whether a training ends in a bundle; one that does not knows the network `tiny`.
    """

    def __init__(self, *words: str, errors: Path, packed: bool = True) -> None:
        self._errors = errors
        streams = (os.devnull, os.devnull, errors)
        self._process = CONTEXT.Process(
            target=_with_streams, args=(streams, _be_command if packed else _train_only, words)
        )
        self._process.start()

    def poll(self) -> int | None:
        """What it ended with: minus the number of the signal that ended it; None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        """Signal the process."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def finish(self, timeout: float = 300) -> str:
        """Wait for the end; what it wrote to standard error."""
        self._process.join(timeout)
        assert self.poll() is not None, "it does not end"
        return self._errors.read_text("utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._process.kill()
        self._process.join()


def run_command(*words: str | bytes | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """`convsmith WORDS`, as `subprocess.run` would run it."""
    return _finished(_be_command, list(map(os.fsdecode, words)), cwd)


def run_python(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`python -c CODE` with further variables of the environment, as `subprocess.run` would run it."""
    ended = _finished(_be_python, code, environment)
    return subprocess.CompletedProcess(code, ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def _finished(function: Callable[..., None], *arguments: object) -> subprocess.CompletedProcess[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        out, errors = Path(folder, "out"), Path(folder, "errors")
        process = CONTEXT.Process(target=_with_streams, args=((os.devnull, out, errors), function, *arguments))
        process.start()
        process.join(300)
        assert process.exitcode is not None, "it does not end"
        return subprocess.CompletedProcess((), process.exitcode, out.read_bytes(), errors.read_bytes())


def _with_streams(streams: Sequence[Path | str], function: Callable[..., None], *arguments: object) -> None:
    for number, file in enumerate(streams):
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        os.dup2(descriptor, number)
        os.close(descriptor)
    function(*arguments)


def _no_report(*_: object) -> None:
    pass


def _be_command(words: Sequence[str], cwd: Path | None = None) -> None:
    from convsmith.analyze.report.at_end import ReportAtEnd
    from convsmith.cli.main import main

    ReportAtEnd.end = _no_report  # type: ignore[assignment, method-assign]  # as in tests of this process, see tests/conftest.py
    if cwd:
        os.chdir(cwd)
    sys.argv = ["convsmith", *words]
    main()


def _train_only(words: Sequence[str]) -> None:
    from convsmith.models import registry
    from tests.training.tiny_model import TinyNet

    registry._builders()["tiny"] = TinyNet
    with mock.patch("convsmith.training.train.pack"):
        _be_command(words)


def _be_python(code: str, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    exec(code, {"__name__": "__main__"})
