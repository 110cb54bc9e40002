"""Work on many things whose results go into one file: in parts, so that a process that is killed has lost one of them.

Beside the file lies a folder while the work goes on. A part in it is there whole or not at all, and its name says which
of the things it holds the results of: that is the whole journal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from convsmith.errors import ConvsmithError, of_system
from convsmith.storage import beside, clear_abandoned, new_file, remove_directory, temporary_prefix, write_file
from convsmith.system import lock

_FACTS, _LOCK = "facts.json", "lock"
_NAME = re.compile(r"(\d{12})-(\d{12})-(\d+)")  # the first thing, the one behind the last, how many are bad


class PartFolder:
    """The parts of a file that are done, in the order of the things.

    Args:
        folder: where they are.
        out: the file.

    Attributes:
        done: how many things have results.
        bad: how many of these are bad.
        is_over: whether the file is written, and the parts are not needed any more.
    """

    def __init__(self, folder: Path, out: Path) -> None:
        self._folder, self._out, self._paths = folder, out, list[Path]()
        self.done, self.bad, self.is_over = 0, 0, False
        for path in sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name)):
            first, behind, bad = map(int, path.name.split("-"))
            if first == self.done:
                self._count(path, behind, bad)
            else:  # one before it was removed
                path.unlink()

    def add(self, content: bytes, things: int, bad: int) -> None:
        """Write the results of the next things. ConvsmithError if that fails; then nothing of them is there."""
        behind = self.done + things
        path = self._folder / f"{self.done:012}-{behind:012}-{bad}"
        with errors_of(self._out):
            write_file(path, content)
        self._count(path, behind, bad)

    def finish(self, join: Callable[[Sequence[Path], IO[bytes]], None]) -> None:
        """Write the file of all parts at once. ConvsmithError if that fails; then it is as it was."""
        with errors_of(self._out), new_file(self._out) as file:
            join(self._paths, file)
        self.is_over = True

    def _count(self, path: Path, behind: int, bad: int) -> None:
        self._paths.append(path)
        self.done, self.bad = behind, self.bad + bad


@contextmanager
def parts_for(out: Path, facts: Mapping[str, Any]) -> Iterator[PartFolder]:
    """The parts of a file in the block, which is the only one to work on them.

    Args:
        out: the file.
        facts: what the results depend on, by the words for it, as JSON has it.

    Raises:
        ConvsmithError: there are parts that depended on something else, another process works on them, or they cannot
            be written.
    """
    folder = beside(out, ".parts")
    with begun(folder, out, facts):
        with errors_of(out):
            for path in (folder, out):
                clear_abandoned(folder.parent, temporary_prefix(path))
            parts = PartFolder(folder, out)
        yield parts
    if parts.is_over:
        with errors_of(out):
            remove_directory(folder)


@contextmanager
def begun(folder: Path, out: Path, facts: Mapping[str, Any]) -> Iterator[None]:
    """Hold a folder with the facts of work in the block.

    Args:
        folder: of the work, made where it lacks.
        out: what becomes of it.
        facts: what the results depend on.

    Raises:
        ConvsmithError: as of `parts_for`.
    """
    with ExitStack() as held:
        with errors_of(out):
            folder.mkdir(parents=True, exist_ok=True)
            _hold(held.enter_context((folder / _LOCK).open("w")), out)
            clear_abandoned(folder)
            _check(folder, out, facts)
        yield


@contextmanager
def errors_of(out: Path) -> Iterator[None]:
    """Let a ConvsmithError say what could not be written in the block."""
    try:
        yield
    except OSError as error:
        raise of_system(error, f"{out} cannot be written") from error


def _hold(file: IO[str], out: Path) -> None:
    try:
        lock(file.fileno())
    except BlockingIOError as error:
        raise ConvsmithError(
            f"another process writes {out}", "it holds the parts", "Wait for it, or choose another file."
        ) from error
    except OSError:  # the file system has no locks
        return


def _check(folder: Path, out: Path, facts: Mapping[str, Any]) -> None:
    """Write down the facts of new parts; a ConvsmithError unless those of old ones are the same."""
    before: Any = None
    with suppress(FileNotFoundError, ValueError):
        before = json.loads((folder / _FACTS).read_text("utf-8"))
    if before is None and not any(_NAME.fullmatch(path.name) for path in folder.iterdir()):
        write_file(folder / _FACTS, json.dumps(facts))
    elif before != facts:
        known = before if isinstance(before, dict) else {}
        others = [f"{it}: {known.get(it)} before, {value} now" for it, value in facts.items() if known.get(it) != value]
        raise ConvsmithError(
            f"{out} was begun otherwise",
            "; ".join(others),
            f"Give what it was begun with, or delete {folder} to begin anew.",
        )
