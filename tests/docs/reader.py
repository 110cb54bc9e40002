"""A reader who copies what a page says: commands into a shell, and Python into one session beside it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Timer

from tests.conftest import REPOSITORY
from tests.docs.blocks import Command

PATIENCE = 900  # seconds for one command, so that a page that hangs ends
_END = "the end of a command:"
_SESSION = f"""
import sys, traceback
names = {{"__name__": "__main__"}}
for line in sys.stdin:
    status = 0
    try:
        exec(compile(eval(line), "block", "exec"), names)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stderr.flush()
    print("", "{_END} " + str(status), sep="\\n", flush=True)
"""


class Reader:
    """Runs one command of a page after another."""

    def __init__(self, shell: subprocess.Popen[str], python: subprocess.Popen[str]) -> None:
        self.shell, self.python = shell, python
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    def run(self, command: Command) -> tuple[int, str]:
        """The status of a command, and what it prints on standard output."""
        text = re.sub(r"(:|--port )8000\b", rf"\g<1>{self.port}", command.text)  # several readers may share a machine
        if command.is_python:
            return _ask(self.python, repr(text))
        if re.match(r"convsmith serve\b(?!.*&$)", text):
            text = self._beside(re.sub(r"\s+#.*", "", text))
        return _ask(self.shell, f"{{ {text}\n}} < /dev/null; status=$?; echo; echo '{_END}' $status")

    def _beside(self, server: str) -> str:
        """A server as in a terminal of its own, which is stopped where the page starts the next one."""
        port = "" if "--port" in server else f"--port {self.port}"
        ready = (
            f"curl --silent --fail --retry 300 --retry-delay 1 --retry-all-errors http://127.0.0.1:{self.port}/readyz"
        )
        return f"[ -z $server ] || {{ kill $server; wait $server; }}\n{server} {port} >&2 &\nserver=$!\n{ready} >&2"


@contextmanager
def reader(folder: Path, said: Path) -> Iterator[Reader]:
    """A reader in a folder, of whom nothing goes on afterwards; the file `said` gets what goes to standard error."""
    environment = {
        **os.environ,
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        "PYTHONPATH": str(REPOSITORY / "src"),
        "CONVSMITH_OFFLINE": "1",
        "MPLBACKEND": "agg",
        "COLUMNS": "100",
    }
    with ExitStack() as stack:
        errors = stack.enter_context(said.open("a"))
        processes = [
            stack.enter_context(_process(words, folder, environment, errors.fileno()))
            for words in (["bash"], [sys.executable, "-u", "-c", _SESSION])
        ]
        yield Reader(*processes)


@contextmanager
def _process(
    words: list[str], folder: Path, environment: dict[str, str], errors: int
) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        words,
        cwd=folder,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def _ask(process: subprocess.Popen[str], text: str) -> tuple[int, str]:
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{text}\n")
    process.stdin.flush()
    printed = ""
    watch = Timer(PATIENCE, os.killpg, (process.pid, signal.SIGKILL))
    watch.start()
    try:
        for line in process.stdout:
            if line.startswith(_END):
                return int(line.removeprefix(_END)), printed.removesuffix("\n")
            printed += line
    finally:
        watch.cancel()
    raise AssertionError(f"it ended in {text}:\n{printed}")
