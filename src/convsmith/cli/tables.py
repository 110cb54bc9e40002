"""Tables that commands print, in which no figure is cut off."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_FOLDED = 8  # characters of a column of names that must fit


def new_table(header: bool = True) -> Table:
    """An empty table, to be filled by `add_names` and `add_figures`."""
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD if header else box.SIMPLE, show_header=header, pad_edge=False)


def add_names(table: Table, *headers: str) -> None:
    """Columns of words, which go on in the next line where room is short."""
    for header in headers:
        table.add_column(header, overflow="fold")


def add_figures(table: Table, *headers: str) -> None:
    """Columns of figures, which are always in one line."""
    for header in headers:
        table.add_column(header, justify="right", no_wrap=True)


def print_table(table: Table) -> None:
    """Print it as wide as the terminal or COLUMNS says, or as its figures need; without these, as it likes to be."""
    console = _console()
    console.width = max(console.width, _least(console, table)) if _is_limited(console) else _natural(console, table)
    console.print(table)


def cut_to_terminal(line: str) -> str:
    """A line that is not longer than the terminal is wide; all of it where there is no terminal."""
    if not sys.stdout.isatty():
        return line
    width = shutil.get_terminal_size().columns
    return line if len(line) <= width else f"{line[: width - 1]}…"


def fits(table: Table) -> bool:
    """Whether the table can be printed without lines that are too long."""
    console = _console()
    return not _is_limited(console) or _least(console, table) <= console.width


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def _is_limited(console: Console) -> bool:
    return console.is_terminal or "COLUMNS" in os.environ


def _natural(console: Console, renderable: RenderableType) -> int:
    """How wide it likes to be."""
    from rich.measure import Measurement

    return Measurement.get(console, console.options.update(max_width=100_000), renderable).maximum


def _least(console: Console, table: Table) -> int:
    """How wide the table has to be."""
    folding = [column for column in table.columns if not column.no_wrap]
    widths = (max(_natural(console, cell) for cell in (column.header, *column.cells)) for column in folding)
    return _natural(console, table) - sum(max(0, width - _FOLDED) for width in widths)
