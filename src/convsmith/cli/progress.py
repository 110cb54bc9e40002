"""What is being done, and how much of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convsmith.deploy.labelled import Progress


_SECONDS = 30.0  # between two lines about the same work, where there is no terminal


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar on a terminal, one line for what is being done, with the time that is left; elsewhere plain lines.

    It is there from the first word on, so that a training before that has the terminal for its own bars.
    """
    import sys
    from contextlib import ExitStack

    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    if not sys.stderr.isatty():
        yield _lines()
        return
    with ExitStack() as shown:
        bar = Bar(console=Console(stderr=True), transient=True)
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if not tasks:
                shown.enter_context(bar)
            if what not in tasks:
                for task in tasks.values():
                    bar.update(task, visible=False)
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)

        yield tell


def _lines() -> Progress:
    """Writes a line for what is begun, and one each half minute for how far it is, on standard error."""
    import sys
    import time

    last: dict[str, float] = {}

    def tell(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what in last and (now - last[what] < _SECONDS or done >= total):
            return
        print(f"{what}: {done} of {total}" if what in last else what, file=sys.stderr, flush=True)
        last[what] = now

    return tell
