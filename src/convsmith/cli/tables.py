"""Tables of facts that commands print."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def console_and_table(width: int) -> tuple[Console, Table]:
    """Where to print, and an empty table; `width` is for files and pipes, which have none: nothing is cut off."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console.width = width
    return console, Table(box=box.SIMPLE_HEAD, pad_edge=False)
