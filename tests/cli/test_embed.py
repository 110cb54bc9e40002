"""`convsmith embed`: either images into a file, or labelled data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from convsmith.cli.main import app
from convsmith.errors import ConvsmithError
from tests.colours import picture


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images of each of two classes."""
    root = tmp_path_factory.mktemp("photos")
    for colour in ("red", "blue"):
        (root / colour).mkdir()
        for side in (16, 20, 24):
            (root / colour / f"{side}.png").write_bytes(picture(colour, size=(side, 16)))
    return root


def embed(*words: object) -> str:
    """What the command prints."""
    answer = CliRunner().invoke(app, ["embed", *map(str, words)])
    if answer.exception:
        raise answer.exception
    return answer.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "embed takes images"),
        ("{photos} --data {photos} --out {out}", "embed takes images"),
        ("{photos}", "embeddings of images go into a file"),
        ("{photos} --out {out} --fit", "needs training images"),
        ("{photos} --out {out}.txt", "txt"),
    ],
)
def test_words_that_do_not_go_together_are_refused(
    words: str, message: str, colour_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rows.npz"
    with pytest.raises(ConvsmithError, match=message):
        embed(colour_bundle, *words.format(photos=photos, out=out).split())
    assert not any(tmp_path.iterdir())


def test_images_are_embedded_into_a_file(colour_bundle: Path, photos: Path, tmp_path: Path) -> None:
    told = json.loads(embed(colour_bundle, photos, "--out", tmp_path / "rows.npz", "--json"))
    with np.load(tmp_path / "rows.npz") as rows:
        assert {len(rows[name]) for name in rows.files} == {6}
    assert (told["images"], told["out"]) == (6, str(tmp_path / "rows.npz"))


def test_labelled_data_say_how_well_classes_are_told_apart(colour_bundle: Path, photos: Path) -> None:
    told = json.loads(embed(colour_bundle, "--data", photos, "--json"))
    assert (told["train_images"], told["images"], told["linear"]) == (4, 2, 1.0)
    assert "linear probe 100.00%" in embed(colour_bundle, "--data", photos)
