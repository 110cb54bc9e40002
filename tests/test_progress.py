"""The bar in the output of a notebook's cell."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from convsmith.progress import _Bar, notebook


class Cell:
    """What is displayed in the outputs of cells: a list for each bar, of its pictures."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bars: list[list[dict[str, str]]] = []
        self.shell = SimpleNamespace(kernel=object(), execution_count=1)
        ipython, display = ModuleType("IPython"), ModuleType("IPython.display")
        ipython.get_ipython = lambda: self.shell  # type: ignore[attr-defined]
        display.display = self._display  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        monkeypatch.setitem(sys.modules, "IPython.display", display)

    def _display(self, content: dict[str, str], raw: bool, display_id: bool) -> Any:
        assert (raw, display_id) == (True, True)
        self.bars.append([content])
        return SimpleNamespace(update=self._update)

    def _update(self, content: dict[str, str], raw: bool) -> None:
        assert raw
        self.bars[-1].append(content)


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    monkeypatch.setattr("time.monotonic", iter(range(100)).__next__)
    return Cell(monkeypatch)


def test_there_is_one_bar_which_goes_when_the_work_is_done(cell: Cell) -> None:
    bar = _Bar()
    for done in (0, 50, 100):
        bar("tr<ain", done, 100)
    (pictures,) = cell.bars
    assert [it["text/plain"] for it in pictures] == ["tr<ain: 0%", "tr<ain: 50%, 00:00:01 left", ""]
    assert pictures[1]["text/html"] == '<progress value="50" max="100"></progress> tr&lt;ain: 50%, 00:00:01 left'


def test_other_work_takes_the_place_of_the_bar(cell: Cell) -> None:
    bar = _Bar()
    bar("train", 10, 100)
    bar("evaluate", 1, None)
    assert [it["text/plain"] for it in cell.bars[0]] == ["train: 10%", "evaluate: 1"]


def test_another_cell_has_a_bar_of_its_own(cell: Cell) -> None:
    bar = _Bar()
    bar("train", 10, 100)
    cell.shell.execution_count = 2
    bar("train", 20, 100)
    assert [len(pictures) for pictures in cell.bars] == [1, 1]


def test_pictures_do_not_come_faster_than_they_can_be_looked_at(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 7.0)
    bar = _Bar()
    for done in range(101):
        bar("train", done, 100)
    assert [it["text/plain"] for it in cell.bars[0]] == ["train: 0%", ""]


@pytest.mark.parametrize("shell", [None, SimpleNamespace(execution_count=1)], ids=["script", "IPython on a terminal"])
def test_elsewhere_there_is_none(cell: Cell, shell: object) -> None:
    cell.shell = shell  # type: ignore[assignment]
    _Bar()("train", 1, 2)
    assert notebook() is None
    assert cell.bars == []


def test_what_was_done_before_the_bar_does_not_count_as_fast_work(cell: Cell) -> None:
    bar = _Bar()
    bar("before", 1, 1)
    for done in (10, 10, 55):
        bar("train", done, 100)
    assert [it["text/plain"] for it in cell.bars[0][1:]] == ["train: 10%", "train: 10%", "train: 55%, 00:00:02 left"]
