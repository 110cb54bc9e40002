"""Tables in which no figure is cut off, and results that print as such and become frames of pandas."""

from __future__ import annotations

import io
import os
import reprlib
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from convsmith.errors import require_extra

if TYPE_CHECKING:
    import pandas
    from rich.console import Console, RenderableType
    from rich.table import Table

_FOLDED = 8  # characters of a column of names that must fit

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxtuple, _SHORT.maxlist, _SHORT.maxdict = 2, 3, 3, 4
_SHORT.maxstring, _SHORT.maxother = 60, 200


class Tabular(ABC):
    """A dataclass of results that prints as its command does, and turns into a frame of pandas."""

    @abstractmethod
    def parts(self) -> Iterator[str | Table]:
        """The lines and tables that it prints as, in order."""

    @abstractmethod
    def records(self) -> list[dict[str, Any]]:
        """Its figures as plain values: a row each, by the names of the columns."""

    def to_frame(self) -> pandas.DataFrame:
        """Its `records` as a frame of pandas.

        Raises:
            ConvsmithError: pandas is not installed.
        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise require_extra("pandas", "to_frame") from error
        return pandas.DataFrame(self.records())

    def print(self) -> None:
        """Print it, in bold where there is a terminal."""
        print_parts(self.parts())

    def __str__(self) -> str:
        return "\n".join(part if isinstance(part, str) else table_text(part) for part in self.parts())

    def __repr__(self) -> str:
        fields = (f"{name}={_SHORT.repr(value)}" for name, value in vars(self).items())
        return f"{type(self).__name__}({', '.join(fields)})"

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        groups = groupby(self.parts(), key=lambda part: isinstance(part, str))
        return "\n".join(_lines_html(group) if are_lines else _tables_html(group) for are_lines, group in groups)


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


def print_parts(parts: Iterable[str | Table]) -> None:
    """Print lines and tables, in order."""
    for part in parts:
        print(part) if isinstance(part, str) else print_table(part)


def print_table(table: Table) -> None:
    """Print it as wide as the terminal or COLUMNS says, or as its figures need; without these, as it likes to be."""
    console = _console()
    console.width = _width(console, table)
    console.print(table)


def table_text(table: Table) -> str:
    """The plain text of what `print_table` prints."""
    from rich.console import Console

    width = _width(_console(), table)
    plain = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False, force_jupyter=False)
    with plain.capture() as printed:
        plain.print(table)
    return "\n".join(line.rstrip() for line in printed.get().splitlines())


def aligned(rows: Sequence[Sequence[str]], figures: Collection[int] = ()) -> str:
    """Rows of plain words as columns, as `print_table` prints them where there is room.

    Args:
        rows: the headers first.
        figures: numbers of the columns that are aligned on the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    header, *lines = (
        " " + "   ".join(f"{cell:{'>' if i in figures else '<'}{widths[i]}}" for i, cell in enumerate(row)).rstrip()
        for row in rows
    )
    return "\n".join(["", header, " " + "─" * (sum(widths) + 3 * len(widths) - 3), *lines, ""])


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

    return Console(highlight=False, force_jupyter=False)


def _width(console: Console, table: Table) -> int:
    return max(console.width, _least(console, table)) if _is_limited(console) else _natural(console, table)


def _is_limited(console: Console) -> bool:
    return console.file.isatty() or "COLUMNS" in os.environ  # rich takes a notebook for a terminal too


def _natural(console: Console, renderable: RenderableType) -> int:
    """How wide it likes to be."""
    from rich.measure import Measurement

    return Measurement.get(console, console.options.update(max_width=100_000), renderable).maximum


def _least(console: Console, table: Table) -> int:
    """How wide the table has to be."""
    folding = [column for column in table.columns if not column.no_wrap]
    widths = (max(_natural(console, cell) for cell in (column.header, *column.cells)) for column in folding)
    return _natural(console, table) - sum(max(0, width - _FOLDED) for width in widths)


def _lines_html(lines: Iterable[Any]) -> str:
    from html import escape

    return f"<pre>{escape(chr(10).join(lines))}</pre>"


def _tables_html(tables: Iterable[Any]) -> str:
    return "\n".join(map(_table_html, tables))


def _table_html(table: Table) -> str:
    from html import escape

    from rich.text import Text

    def row(tag: str, cells: Iterator[RenderableType]) -> str:
        texts = (escape(Text.from_markup(str(cell)).plain).replace("\n", "<br>") for cell in cells)
        aligned = zip((column.justify for column in table.columns), texts, strict=True)
        return "<tr>" + "".join(f'<{tag} style="text-align: {side}">{text}</{tag}>' for side, text in aligned) + "</tr>"

    head = [row("th", (column.header for column in table.columns))] if table.show_header else []
    body = [row("td", iter(cells)) for cells in zip(*(column.cells for column in table.columns), strict=True)]
    return f"<table>{''.join([*head, *body])}</table>"
