"""Blocks of code in a page of the docs, and one shell that runs all of a page as a reader would."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY

RUNS = "<!-- every block of this page runs, from top to bottom, in an empty folder -->"
PATIENCE = 900  # seconds for one command
_END = "the end of a command:"


@dataclass(frozen=True)
class Command:
    """A line of a shell, or a Python program, and the output that the page shows; without one any will do."""

    text: str
    shown: str = ""


def commands(page: Path) -> list[Command]:
    """All that a page asks its reader to run."""
    found = []
    for kind, block in re.findall(r"^```(console|python)\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S):
        if kind == "python":
            found.append(Command(f"{sys.executable} - <<'END_OF_BLOCK'\n{block}END_OF_BLOCK"))
            continue
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.splitlines(keepends=True)
            last = next(i for i, line in enumerate(lines) if not line.rstrip().endswith("\\"))
            found.append(Command("".join(lines[: last + 1]).rstrip(), "".join(lines[last + 1 :])))
    return found


def fits(shown: str, printed: str) -> bool:
    """Whether what is printed is what is shown, in which `...` stands for anything."""
    pattern = ".*".join(re.escape(part) for part in shown.strip().split("..."))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


@contextmanager
def shell(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A bash in an empty folder, of which nothing goes on afterwards."""
    environment = {
        **os.environ,
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        "PYTHONPATH": str(REPOSITORY / "src"),
        "COLUMNS": "100",
    }
    with subprocess.Popen(
        ["bash"],
        cwd=folder,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def run(bash: subprocess.Popen[str], command: Command) -> tuple[int, str]:
    """The status of a command and what it prints on standard output."""
    assert bash.stdin
    assert bash.stdout
    bash.stdin.write(f"{command.text}\nstatus=$?; echo; echo '{_END}' $status\n")
    bash.stdin.flush()
    printed = ""
    for line in bash.stdout:
        if line.startswith(_END):
            return int(line.removeprefix(_END)), printed.removesuffix("\n")
        printed += line
    raise AssertionError(f"the shell ended in {command.text}:\n{printed}")
