"""A bar, or lines, for the work under way and how much of it is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from convsmith.progress import ProgressCallback
from convsmith.words import for_terminal

_SECONDS = 30.0  # between two lines about the same work, where there is no terminal


@contextmanager
def progress_bar() -> Iterator[ProgressCallback]:
    """A bar on a terminal, one line for what is being done, with the time that is left; elsewhere plain lines.

    It is there from the first word on, so that a training before that has the terminal for its own bars.
    """
    import sys
    from contextlib import ExitStack

    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    if not sys.stderr.isatty():
        yield _lines()
        return
    with ExitStack() as shown:
        bar = Bar(console=Console(stderr=True), transient=True)
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int | None) -> None:
            if not tasks:
                shown.enter_context(bar)
            if what not in tasks:
                for task in tasks.values():
                    bar.update(task, visible=False)
                tasks[what] = bar.add_task(escape(for_terminal(what)), total=total)
            bar.update(tasks[what], completed=done)

        yield tell


def _lines() -> ProgressCallback:
    """Writes a line for what is begun, and one each half minute for how far it is, on standard error."""
    import sys
    import time

    last: dict[str, float] = {}

    def tell(what: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if what in last and (now - last[what] < _SECONDS or done == total):
            return
        line = for_terminal(what)
        print(f"{line}: {done} of {total}" if what in last else line, file=sys.stderr, flush=True)
        last[what] = now

    return tell
