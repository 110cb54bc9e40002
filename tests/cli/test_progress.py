from __future__ import annotations

import sys

import pytest
from rich.progress import Progress

from convsmith.cli.progress import progress_bar


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happened to the bar of a terminal."""
    happened: list[str] = []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(Progress, "start", lambda _: happened.append("start"))
    monkeypatch.setattr(Progress, "stop", lambda _: happened.append("stop"))
    return happened


def test_the_bar_waits_for_the_first_word(shown: list[str]) -> None:
    with progress_bar() as progress:
        assert shown == []
        progress("speed", 0, 1)
        assert shown == ["start"]
        progress("speed", 1, 1)
    assert shown == ["start", "stop"]


def test_a_bar_that_is_told_nothing_is_never_there(shown: list[str]) -> None:
    with progress_bar():
        pass
    assert shown == []


def test_without_a_terminal_each_work_is_a_line_when_it_begins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 1.0, 2.0, 41.0, 42.0, 90.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with progress_bar() as progress:
        progress("make openvino", 0, 1)
        progress("prove", 8, 256)
        progress("prove", 16, 256)
        progress("prove", 128, 256)
        progress("prove", 136, 256)
        progress("prove", 256, 256)
    assert capsys.readouterr().err.splitlines() == ["make openvino", "prove", "prove: 128 of 256, 3.0/s, 0:00:43 left"]


def test_what_was_done_before_makes_the_rest_no_faster(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 40.0, 80.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with progress_bar() as progress:
        progress("predict", 900, 2000)
        progress("predict", 900, 2000)
        progress("predict", 1000, 2000)
    assert capsys.readouterr().err.splitlines()[1:] == [
        "predict: 900 of 2000", "predict: 1000 of 2000, 1.2/s, 0:13:20 left",
    ]  # fmt: skip
