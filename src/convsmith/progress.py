"""The one way in which work reports how far it is. To end work early is another matter, and has its own callback."""

from __future__ import annotations

from collections.abc import Callable

ProgressCallback = Callable[[str, int, int | None], None]
"""Called with (what, done, total): the work in a few words, how much of it is done, and how much it is in all.

The units are those of the work: images, steps, bytes. `total` is None while it is not known. It is called in the thread
of the work, at its begin or after each part; an error that it raises ends the work.
"""


def no_progress(what: str, done: int, total: int | None) -> None:
    """Report to nothing."""
