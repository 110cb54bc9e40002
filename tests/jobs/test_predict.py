"""Answers to many images at once, in Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import convsmith as cs
from tests.colours import picture


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("red", "blue"):
        (tmp_path / f"{name}.png").write_bytes(picture(name))
    return tmp_path


def test_a_folder_is_answered_image_by_image(colour_bundle: Path, photos: Path) -> None:
    answers = cs.predict(colour_bundle, photos)
    assert answers.names == (str(photos / "blue.png"), str(photos / "red.png"))
    assert [answer.label for answer in answers] == ["blue", "red"]
    assert len(answers) == 2


def test_a_bundle_that_is_loaded_answers_pixels_paths_and_patterns(colour_bundle: Path, photos: Path) -> None:
    green = np.zeros((9, 9, 3), np.uint8)
    green[..., 1] = 255
    answers = cs.predict(cs.load(colour_bundle), [green, photos / "red.png", f"{photos}/b*.png", picture("red")])
    assert [answer.label for answer in answers] == ["green", "red", "blue", "red"]
    assert answers.names[0] == "images[0]"


def test_one_image_is_one_answer(colour_bundle: Path, photos: Path) -> None:
    assert cs.predict(colour_bundle, str(photos / "red.png"))[0].label == "red"


def test_answers_print_as_a_table_with_the_errors_below(colour_bundle: Path, photos: Path) -> None:
    (photos / "bad.png").write_bytes(b"nothing")
    printed = str(cs.predict(colour_bundle, photos, top=2)).splitlines()
    assert printed[-1].startswith(f"error: {photos / 'bad.png'}: ")
    assert sum("blue.png" in line for line in printed) == 2


def test_a_frame_has_a_row_for_each_class_and_for_each_bad_image(colour_bundle: Path, photos: Path) -> None:
    pytest.importorskip("pandas")
    (photos / "bad.png").write_bytes(b"nothing")
    frame = cs.predict(colour_bundle, photos, top=2).to_frame()
    assert list(frame.columns) == ["image", "rank", "class_id", "label", "score", "error"]
    assert len(frame) == 5
    assert frame.error.notna().sum() == 1


def test_masks_are_listed_by_their_classes(pixel_bundle: Path, photos: Path) -> None:
    records = cs.predict(pixel_bundle, photos).records()
    assert [(record["label"], record["share"]) for record in records] == [("blue", 1.0), ("red", 1.0)]


@pytest.mark.parametrize("missing", ["nothing here/", "*.jpg"])
def test_a_folder_or_pattern_without_images_is_an_error(colour_bundle: Path, photos: Path, missing: str) -> None:
    (photos / "nothing here").mkdir()
    with pytest.raises(cs.ConvsmithError, match="cannot be used"):
        cs.predict(colour_bundle, str(photos / missing))


def test_what_is_no_image_is_an_error(colour_bundle: Path) -> None:
    with pytest.raises(cs.ConvsmithError, match="int is not an image"):
        cs.predict(colour_bundle, 3)  # type: ignore[arg-type]


def test_how_many_are_answered_is_reported(colour_bundle: Path, photos: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    cs.predict(colour_bundle, photos, progress=lambda *it: told.append(it))
    assert told == [("predict", 1, None), ("predict", 2, None), ("predict", 2, 2)]
