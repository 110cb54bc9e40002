"""A run keeps the index of very many images beside it, and a resume opens it there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import convsmith as cs
from convsmith.data.folders import folder_index, scan
from tests.data.every_source import folder
from tests.training.test_every_source import RECIPES
from tests.training.tiny_model import name_tiny


@pytest.mark.slow
def test_a_resume_reads_no_folder_of_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_index, "_WORTH", 5)
    name_tiny(monkeypatch)
    data = folder(tmp_path / "data", "classification")
    for path, _, _ in os.walk(data):
        os.utime(path, (1, 1))  # a folder that has just changed is not relied on
    (tmp_path / "mine.yaml").write_text(RECIPES["classification"])
    for cache in ("one", "another"):
        monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / cache))
        with scan.folders_listed() as read:
            cs.train(tmp_path / "mine.yaml", data, tmp_path / "run", extend=None if cache == "one" else 1)
        assert bool(read) == (cache == "one")
