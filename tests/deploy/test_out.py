"""Whether a folder can be written is known before the work."""

from __future__ import annotations

from pathlib import Path

import pytest

from convsmith.deploy.out import check_out
from convsmith.errors import ConvsmithError


def test_the_longest_name_that_there_is_may_be_an_output(tmp_path: Path) -> None:
    check_out(tmp_path / ("o" * 255), (), tmp_path / "data")


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match="cannot be written: File name too long"):
        check_out(tmp_path / ("o" * 256), (), tmp_path / "data")


def test_a_disk_that_is_mounted_cannot_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path / "out")
    with pytest.raises(ConvsmithError, match=r"a disk is mounted there\nChoose a folder below it: out=.*out/bundle"):
        check_out(tmp_path / "out", (), tmp_path / "data")


def test_the_working_directory_may_be_an_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    check_out(Path(), (), tmp_path / "data")
