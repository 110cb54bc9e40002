"""The steps of `convsmith demo`, with commands and a server that stand in for the real ones."""

from __future__ import annotations

import json
import subprocess
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import pytest
import typer

from convsmith.cli import demo as module
from convsmith.errors import ConvsmithError


@pytest.mark.parametrize(
    ("segmentation", "recipe", "images"), [(False, "digits", "val/7"), (True, "digit-scenes", "images/val")]
)
def test_the_whole_way_is_gone_once(
    segmentation: bool,
    recipe: str,
    images: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    commands, served = list[tuple[str, ...]](), list[tuple[str, Path]]()
    for place in (tmp_path / recipe / images, tmp_path / "run"):
        place.mkdir(parents=True)
    for name in ("b.png", "a.png"):
        (tmp_path / recipe / images / name).touch()
    (tmp_path / "run" / "report.json").write_text(json.dumps({"recommended": "the bundle"}))
    monkeypatch.setattr(module, "_convsmith", lambda *words: commands.append(words))
    monkeypatch.setattr(module, "_serve_one_request", lambda *given: served.append(given))
    module.demo(tmp_path, segmentation)
    data, run = str(tmp_path / recipe), str(tmp_path / "run")
    assert commands == [("data", "demo", recipe, data), ("make", data, "--recipe", recipe, "--out", run)]
    assert served == [("the bundle", tmp_path / recipe / images / "a.png")]
    assert len(capsys.readouterr().out.splitlines()) == 6


@pytest.mark.parametrize("code", [0, 3])
def test_a_command_that_fails_ends_it_with_its_code(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = list[list[str]]()

    def run(words: list[str], **_: object) -> Any:
        ran.append(words)
        return SimpleNamespace(returncode=code)

    monkeypatch.setattr(subprocess, "run", run)
    ended = 0
    try:
        module._convsmith("data", "demo")
    except typer.Exit as error:
        ended = error.exit_code
    assert ended == code
    assert ran[0][1:] == ["-m", "convsmith.cli.main", "data", "demo"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses that are asked for; the third one answers."""
    asked = list[str]()

    def urlopen(url: str) -> Any:
        asked.append(url)
        if len(asked) != 3:
            raise URLError("refused")
        return nullcontext()

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    monkeypatch.setattr("time.sleep", lambda _: None)
    return asked


def server(code: int | None = None) -> Any:
    return SimpleNamespace(poll=lambda: code, returncode=code)


def test_a_server_is_waited_for(asked: list[str]) -> None:
    module._wait_until_ready(server(), 7)
    assert asked == ["http://127.0.0.1:7/readyz"] * 3


def test_a_server_that_is_never_ready_is_an_error_after_300_questions(asked: list[str]) -> None:
    asked += ["", "", ""]
    with pytest.raises(ConvsmithError, match="not ready within 30 seconds"):
        module._wait_until_ready(server(), 7)
    assert len(asked) == 303


def test_a_server_that_has_ended_is_an_error(asked: list[str]) -> None:
    with pytest.raises(ConvsmithError, match="the server ended before it was ready: exit code 1"):
        module._wait_until_ready(server(1), 7)
    assert asked == []


@pytest.mark.parametrize(("length", "shown"), [(600, 600), (601, 603)])
def test_a_long_answer_is_cut(length: int, shown: int) -> None:
    assert len(module._shortened("x" * length)) == shown


def test_a_free_port_is_one_of_this_machine() -> None:
    assert 0 < module._free_port() < 2**16
