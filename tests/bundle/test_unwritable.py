"""A bundle that cannot be written: the error says what helps against its cause."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from convsmith.bundle import write
from convsmith.errors import ConvsmithError
from tests.colours import write_colour_bundle


@pytest.mark.parametrize(
    ("number", "fix"),
    [(errno.ENOSPC, "Make room."), (errno.EIO, "The disk fails"), (errno.EROFS, "Choose a place that can be written.")],
)
def test_the_error_says_what_helps(number: int, fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(write, "new_directory", refuse)
    with pytest.raises(ConvsmithError) as caught:
        write_colour_bundle(tmp_path / "b")
    assert str(caught.value.fix).startswith(f"What was there is kept. {fix}")
