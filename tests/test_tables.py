"""Results that print as tables, and become frames of pandas."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from convsmith.errors import ConvsmithError
from convsmith.tables import Tabular, add_figures, add_names, new_table

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
