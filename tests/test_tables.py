"""Results that print as tables, and become frames of pandas."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from convsmith.errors import ConvsmithError
from convsmith.tables import Tabular, _table_html, add_figures, add_names, cut_to_terminal, fits, new_table, table_text

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, repr=False)
class Heights(Tabular):
    """Some names with a figure each."""

    heights: dict[str, float]
    remark: str = "of <people>"

    def records(self) -> list[dict[str, Any]]:
        return [{"name": name, "height": height} for name, height in self.heights.items()]

    def parts(self) -> Iterator[str | Table]:
        from rich.markup import escape

        table = new_table()
        add_names(table, "name")
        add_figures(table, "height")
        for name, height in self.heights.items():
            table.add_row(escape(name), f"{height:.2f}")
        yield table
        yield self.remark


TWO = Heights({"[red]ann": 1.7, "bo": 1.834})


def test_a_result_prints_as_its_table_and_lines() -> None:
    lines = [line.split() for line in str(TWO).splitlines()]
    assert next(line for line in lines if line) == ["name", "height"]
    assert ["[red]ann", "1.70"] in lines
    assert lines[-1] == ["of", "<people>"]


def test_a_command_prints_what_the_text_says(capsys: pytest.CaptureFixture[str]) -> None:
    TWO.print()
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == str(TWO).splitlines()


def test_a_notebook_gets_the_same_as_html() -> None:
    page = TWO._repr_html_()
    assert page.count("<tr>") == 3
    assert '<td style="text-align: right">1.83</td>' in page
    assert ">[red]ann</td>" in page
    assert "<pre>of &lt;people&gt;</pre>" in page


def test_what_describes_a_large_result_is_short() -> None:
    many = Heights({str(number): 1.0 for number in range(1000)})
    assert repr(many).startswith("Heights(heights={'0': 1.0, ")
    assert len(repr(many)) < 200


def test_a_frame_has_a_row_for_each_record() -> None:
    pandas = pytest.importorskip("pandas")
    frame = TWO.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == ["name", "height"]
    assert frame.height.sum() == pytest.approx(3.534)


def test_without_pandas_one_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConvsmithError, match=r"to_frame needs the package `pandas`.*\n.*pip install"):
        TWO.to_frame()


WORDY = "a word beside_another_one_that_is_long"


@pytest.mark.parametrize(
    ("columns", "fitting", "lines"),
    [
        (
            "30", True,
            ["", " name            a figure   b", " " + "─" * 28, " a word         1,234,567   8", " beside_anoth",
             " er_one_that_", " is_long"],
        ),
        (
            "10", False,
            ["", " name        a figure   b", " " + "─" * 24, " a word     1,234,567   8", " beside_a", " nother_o",
             " ne_that_", " is_long"],
        ),
    ],
)  # fmt: skip
def test_words_are_folded_where_room_is_short_and_figures_never(
    columns: str, fitting: bool, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    table = new_table()
    add_names(table, "name")
    add_figures(table, "a figure", "b")
    table.add_row(WORDY, "1,234,567", "8")
    assert table_text(table).splitlines() == lines
    assert fits(table) is fitting


@pytest.mark.parametrize(("name", "least"), [(WORDY, 26), ("12345678", 26), ("ab", 20)])
def test_a_table_fits_where_the_figures_and_eight_characters_of_names_do(
    name: str, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = new_table()
    add_names(table, "")
    add_figures(table, "a figure", "b")
    table.add_row(name, "1,234,567", "8")
    fitting = []
    for columns in range(10, 40):
        monkeypatch.setenv("COLUMNS", str(columns))
        fitting += [columns] * fits(table)
    assert fitting == [*range(least, 40)]


def test_lines_in_a_row_are_one_block_of_a_page() -> None:
    class Lines(Heights):
        def parts(self) -> Iterator[str | Table]:
            yield from ("one", "two")

    assert Lines({})._repr_html_() == "<pre>one\ntwo</pre>"


def test_a_table_without_a_header_has_no_line_for_one() -> None:
    table = new_table(header=False)
    add_names(table, "name")
    table.add_row("ann")
    assert table_text(table).split() == ["ann"]
    assert _table_html(table) == '<table><tr><td style="text-align: left">ann</td></tr></table>'


@pytest.mark.parametrize(("line", "cut"), [("12345678", "12345678"), ("123456789", "1234567…")])
def test_a_line_is_cut_at_the_end_of_the_terminal_only(
    line: str, cut: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "8")
    assert cut_to_terminal(line) == line
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert cut_to_terminal(line) == cut


def test_what_describes_a_result_shows_the_first_of_each() -> None:
    many = repr(Heights({"a" * 70: 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": 5.0}, [*range(9)]))  # type: ignore[arg-type]
    names = f"{'a' * 27}...{'a' * 28}"
    assert many == f"Heights(heights={{'{names}': 1.0, 'b': 2.0, 'c': 3.0, 'd': 4.0, ...}}, remark=[0, 1, 2, ...])"
    deep = repr(Heights({"a": [[[1]]], "b": (1, 2, 3, 4)}, b"x" * 300))  # type: ignore[arg-type, dict-item]
    assert deep == f"Heights(heights={{'a': [[...]], 'b': (1, 2, 3, ...)}}, remark=b'{'x' * 96}...{'x' * 98}')"
