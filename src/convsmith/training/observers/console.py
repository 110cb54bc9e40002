"""The observer of the person at the terminal."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from convsmith.output import say_the_last_words
from convsmith.progress import notebook, notebook_progress
from convsmith.training.observers.base import Observer, Record

PLAIN_SECONDS = 10.0


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} images/s" if task.speed else "")


class Console(Observer):
    """Progress bars on a terminal and in a notebook; elsewhere one plain line every ten seconds.

    There is one line for each record. Log messages of the package appear above the bars.

    Args:
        console: where to write; by default standard error, or in a notebook, which shows that in red, standard output.
    """

    def __init__(self, console: RichConsole | None = None) -> None:
        self._in_notebook = console is None and notebook() is not None
        self._console = console or RichConsole(stderr=not self._in_notebook, force_jupyter=False)
        self._live = self._console.is_terminal and not self._in_notebook  # where rich sees a terminal
        columns = (TextColumn("{task.description:9}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
        self._bars = Progress(*columns, _Speed(), TimeRemainingColumn(), TextColumn("left"), console=self._console)
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, tuple[float, int]] = {}
        self._last_line = time.monotonic()
        self._handler = _ToConsole(self._print)
        logging.getLogger("convsmith").addHandler(self._handler)
        if self._live:
            self._bars.start()

    def progress(self, phase: str, done: int, total: int) -> None:
        """Move the phase's bar, or now and then print a line."""
        if self._in_notebook:
            notebook_progress(phase, done, total)
            return
        if self._live:
            if phase not in self._tasks:
                self._tasks[phase] = self._bars.add_task(phase, total=total, completed=done)
            finished = done >= total
            self._bars.update(self._tasks[phase], completed=done, total=total, visible=not finished)
            if finished:
                self._bars.remove_task(self._tasks.pop(phase))
            return
        now = time.monotonic()
        start, first = self._started.setdefault(phase, (now, done))
        if done >= total:
            del self._started[phase]
        elif now - self._last_line >= PLAIN_SECONDS and done > first:
            self._last_line = now
            speed = (done - first) / (now - start)
            left = time.strftime("%H:%M:%S", time.gmtime((total - done) / speed))
            self._print(f"{phase} {done / total:.0%}  {speed:,.0f} images/s  {left} left")

    def metrics(self, record: Record) -> None:
        """Print one line per record."""
        values = "  ".join(f"{name} {_readable(value)}" for name, value in record.values.items())
        self._print(f"epoch {record.epoch:>3}  {record.split:5}  {values}")

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._live:
            self._bars.stop()
        say_the_last_words("stderr")
        logging.getLogger("convsmith").removeHandler(self._handler)

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


class _ToConsole(logging.Handler):
    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        self._write(record.getMessage() if record.levelno < logging.WARNING else f"warning: {record.getMessage()}")


def _readable(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
