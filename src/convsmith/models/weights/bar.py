"""The bar on a terminal while a file is downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from convsmith.progress import ProgressCallback


@contextmanager
def download_bar(name: str) -> Iterator[ProgressCallback]:
    """Show how much of a file is here, on standard error if that is a terminal; the block reports it by the callback.

    Args:
        name: of the file.
    """
    from rich import progress as rich_progress
    from rich.console import Console

    console = Console(stderr=True)
    columns = (
        rich_progress.TextColumn(name),
        rich_progress.BarColumn(),
        rich_progress.DownloadColumn(),
        rich_progress.TransferSpeedColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        yield lambda _, done, total: bar.update(task, completed=done, total=total)
