"""Opening the data that a recipe is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from convsmith.bundle.decode import max_pixels, pixel_limit_kept
from convsmith.data.check import check_files
from convsmith.recipe.load import load_recipe
from convsmith.tasks.make import open_data
from tests.data.folders import write_noise


def test_a_recipe_says_how_many_pixels_an_image_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_MAX_PIXELS", "10")  # and it is put back afterwards
    data = write_noise(tmp_path, 4, size=(10, 8))
    refused = check_files(open_data(load_recipe("digits"), data).train)
    assert [bad.reason for bad in refused] == ["it has 10 x 8 = 80 pixels; 10 are allowed"] * 4
    assert not check_files(open_data(load_recipe("digits", ["data.max_pixels=80"]), data).train)


@pytest.mark.parametrize("before", ["10", None])
def test_what_a_recipe_says_of_pixels_ends_with_its_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.setenv("CONVSMITH_MAX_PIXELS", before or "")
    if before is None:
        monkeypatch.delenv("CONVSMITH_MAX_PIXELS")
    limit = max_pixels()
    with pixel_limit_kept():
        open_data(load_recipe("digits", ["data.max_pixels=80"]), write_noise(tmp_path, 4))
        assert max_pixels() == 80
    assert max_pixels() == limit
