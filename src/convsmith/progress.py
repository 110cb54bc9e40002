"""The one way in which work reports how far it is. To end work early is another matter, and has its own callback."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable
from typing import Any

ProgressCallback = Callable[[str, int, int | None], None]
"""Called with (what, done, total): the work in a few words, how much of it is done, and how much it is in all.

The units are those of the work: images, steps, bytes. `total` is None while it is not known. It is called in the thread
of the work, at its begin or after each part; an error that it raises ends the work.
"""

_EVERY = 0.2  # seconds from one picture of a bar to the next


def no_progress(what: str, done: int, total: int | None) -> None:
    """Report to nothing."""


def notebook() -> Any:
    """The IPython shell of this process, if it is that of a notebook, or of another client of Jupyter; else None."""
    ipython = sys.modules.get("IPython")  # which a kernel has imported
    shell = ipython.get_ipython() if ipython else None
    return shell if getattr(shell, "kernel", None) else None


class _Bar:
    """One bar in the output of a cell, for the work under way; none while there is no work."""

    def __init__(self) -> None:
        self._cell: int | None = None
        self._handle: Any = None
        self._what, self._begun, self._first, self._shown = "", 0.0, 0, 0.0

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """Report to a bar where the process is that of a notebook; to nothing elsewhere."""
        shell = notebook()
        if shell is None:
            return
        now, is_over = time.monotonic(), total is not None and done >= total
        if shell.execution_count != self._cell:
            self._cell, self._handle, self._what = shell.execution_count, None, ""
        if what != self._what:
            self._what, self._begun, self._first = what, now, done
        elif now - self._shown < _EVERY and not is_over:
            return
        self._shown = now
        self._show({"text/plain": "", "text/html": ""} if is_over else self._picture(done, total, now))
        if is_over:
            self._what = ""

    def _picture(self, done: int, total: int | None, now: float) -> dict[str, str]:
        if total is None:
            words = f"{self._what}: {done:,}"
            return {"text/plain": words, "text/html": html.escape(words)}
        words = f"{self._what}: {done / total:.0%}"
        if done > self._first:
            seconds = (total - done) * (now - self._begun) / (done - self._first)
            words += f", {time.strftime('%H:%M:%S', time.gmtime(seconds))} left"
        return {
            "text/plain": words,
            "text/html": f'<progress value="{done}" max="{total}"></progress> {html.escape(words)}',
        }

    def _show(self, content: dict[str, str]) -> None:
        from IPython.display import display

        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(content, raw=True)


notebook_progress: ProgressCallback = _Bar()
"""Reports to a bar in the output of a notebook's cell, one for the work under way; to nothing elsewhere."""
