"""A bar, or lines, for the work under way, how much of it is done, how fast it goes, and what time is left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from convsmith.progress import ProgressCallback
from convsmith.words import for_terminal

_SECONDS = 30.0  # between two lines about the same work, where there is no terminal


@contextmanager
def progress_bar() -> Iterator[ProgressCallback]:
    """A bar on a terminal, one line for what is being done, with the time that is left; elsewhere plain lines.

    It is there from the first word on, so that a training before that has the terminal for its own bars.
    """
    import sys
    import time
    from contextlib import ExitStack

    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress as Bar
    from rich.progress import TaskID, TextColumn

    if not sys.stderr.isatty():
        yield _lines()
        return
    with ExitStack() as shown:
        columns = *Bar.get_default_columns(), TextColumn("{task.fields[pace]}")
        bar = Bar(*columns, console=Console(stderr=True), transient=True)
        tasks: dict[str, TaskID] = {}
        paces: dict[str, _Pace] = {}

        def tell(what: str, done: int, total: int | None) -> None:
            if not tasks:
                shown.enter_context(bar)
            if what not in tasks:
                for task in tasks.values():
                    bar.update(task, visible=False)
                paces[what] = _Pace(done, time.monotonic())
                tasks[what] = bar.add_task(escape(for_terminal(what)), total=total, completed=done, pace="")
            bar.update(tasks[what], completed=done, pace=paces[what].in_words(done, time.monotonic()))

        yield tell


def _lines() -> ProgressCallback:
    """Writes a line for what is begun, and one each half minute for how far it is, on standard error."""
    import sys
    import time

    last: dict[str, float] = {}
    paces: dict[str, _Pace] = {}

    def tell(what: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if what in last and (now - last[what] < _SECONDS or done == total):
            return
        line = for_terminal(what)
        if what not in paces:
            paces[what] = _Pace(done, now)
        else:
            words = (f"{line}: {done} of {total}", paces[what].in_words(done, now), paces[what].left(done, total, now))
            line = ", ".join(filter(None, words))
        print(line, file=sys.stderr, flush=True)
        last[what] = now

    return tell


class _Pace:
    """How fast work goes since it was begun, or gone on with.

    Args:
        first: how much of it was done then.
        now: the time then, by the monotonic clock.
    """

    def __init__(self, first: int, now: float) -> None:
        self._first, self._since = first, now

    def in_words(self, done: int, now: float) -> str:
        """Its speed, such as `52.1/s`; nothing before any of it is done."""
        speed = self._speed(done, now)
        return "" if not speed else f"{speed:,.1f}/s" if speed < 100 else f"{speed:,.0f}/s"

    def left(self, done: int, total: int | None, now: float) -> str:
        """The time that is left, such as `0:01:33 left`; nothing where that is not known."""
        speed = self._speed(done, now)
        return "" if total is None or not speed else f"{timedelta(seconds=round((total - done) / speed))} left"

    def _speed(self, done: int, now: float) -> float:
        return (done - self._first) / (now - self._since) if now > self._since else 0.0
