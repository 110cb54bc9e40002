"""Stages of a long job, each done once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from convsmith.jobs.stages import Stages


@dataclass(frozen=True)
class Figure:
    value: int


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    stages = Stages(tmp_path / "stages", "bundle 1")
    assert stages.once("judge", Figure, lambda: Figure(7)) == Figure(7)
    return tmp_path / "stages"


def again(folder: Path, of: str = "bundle 1", holds: bool = True) -> Figure:
    return Stages(folder, of).once("judge", Figure, lambda: Figure(8), holds=lambda _: holds)


def test_what_was_done_is_not_done_again_and_took_as_long(folder: Path) -> None:
    took = json.loads((folder / "judge.json").read_text())["seconds"]
    stages = Stages(folder, "bundle 1")
    assert stages.once("judge", Figure, lambda: Figure(8)) == Figure(7)
    assert stages.seconds == {"judge": took}


def test_what_came_of_something_else_or_left_nothing_behind_is_done_again(folder: Path) -> None:
    assert again(folder, of="bundle 2") == Figure(8)
    assert again(folder, of="bundle 1", holds=False) == Figure(8)


@pytest.mark.parametrize("change", [lambda it: it.replace("7", "9"), lambda it: it[:-20], lambda _: "[]"])
def test_a_file_that_was_changed_is_not_believed(folder: Path, change: object) -> None:
    file = folder / "judge.json"
    file.write_text(change(file.read_text()))  # type: ignore[operator]
    assert again(folder) == Figure(8)
    assert again(folder) == Figure(8)
    assert Stages(folder, "bundle 1").once("judge", Figure, lambda: Figure(9)) == Figure(8)


def test_the_seconds_are_those_of_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.perf_counter", iter([3.0, 5.5]).__next__)
    stages = Stages(tmp_path / "stages", "x")
    stages.once("judge", Figure, lambda: Figure(7))
    assert stages.seconds == {"judge": 2.5}
