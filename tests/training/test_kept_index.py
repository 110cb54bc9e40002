"""A run keeps the index of very many images beside it, and a resume opens it there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import convsmith as cs
from convsmith.data import kept_index
from convsmith.data.folders import folder_index
from convsmith.data.folders.image_folder import open_image_folder
from tests.data.every_source import folder
from tests.training.test_every_source import RECIPES
from tests.training.tiny_model import name_tiny


@pytest.mark.slow
def test_a_resume_on_a_machine_without_the_cache_reads_no_class_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def counted(root: Path, *more: object) -> object:
        read.append(root)
        return open_image_folder(root, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(kept_index, "_WORTH", 5)
    monkeypatch.setattr(folder_index, "open_image_folder", counted)
    name_tiny(monkeypatch)
    data = folder(tmp_path / "data", "classification")
    for path, _, _ in os.walk(data):
        os.utime(path, (1, 1))  # a folder that has just changed is not relied on
    (tmp_path / "mine.yaml").write_text(RECIPES["classification"])
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / "one"))
    cs.train(tmp_path / "mine.yaml", data, tmp_path / "run")
    assert read == [data, data]  # with and without holding out: the recipe has folds
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / "another"))
    cs.train(tmp_path / "mine.yaml", data, tmp_path / "run", extend=1)
    assert read == [data, data]
