"""What is measured of validation images, for later ones to be held against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from convsmith.bundle.format import MANIFEST, read_manifest
from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.predictor import load
from convsmith.deploy import reference
from convsmith.deploy.reference import MOST, add_reference, measure_reference
from tests.colours import write_colour_bundle
from tests.stripes import write_pixel_bundle


def lit(number: int, size: int = 8) -> NDArray[np.uint8]:
    """An image whose class is number mod 3, and that is the brighter the higher the number."""
    image = np.full((3, size, size), number % 200, np.uint8)
    image[number % 3] += 50
    return image


def test_a_bundle_keeps_the_reference_that_is_added(tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "bundle")
    before = read_manifest(bundle)
    assert before.reference is None
    assert '"reference"' not in (bundle / MANIFEST).read_text()
    add_reference(bundle, lit, 300)
    after = load(bundle).manifest
    assert after.reference
    assert after.reference.images == 300
    assert after.reference.classes == (100.0, 100.0, 100.0)
    assert after.reference.brightness
    assert after.reference.confidence
    assert (after.labels, after.metrics, after.files) == (before.labels, before.metrics, before.files)


def test_too_few_images_leave_a_bundle_as_it_is(tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "bundle")
    before = (bundle / MANIFEST).read_bytes()
    add_reference(bundle, lit, 49)
    assert (bundle / MANIFEST).read_bytes() == before


def test_of_many_images_some_are_looked_at_evenly_of_all(colour_bundle: Path) -> None:
    asked = []

    def read(number: int) -> NDArray[np.uint8]:
        asked.append(number)
        return lit(number)

    reference = measure_reference(load(colour_bundle), read, 10 * MOST)
    assert reference.images == MOST
    assert sorted(asked) == list(range(0, 10 * MOST, 10))


def test_masks_count_by_the_share_of_their_pixels(tmp_path: Path) -> None:
    bundle = load(write_pixel_bundle(tmp_path / "bundle"))
    reference = measure_reference(bundle, lambda number: lit(number, 16), 60)
    assert reference.classes == pytest.approx((20, 20, 20))
    assert reference.confidence is None  # which only a calibrated bundle knows
    assert reference.brightness


def test_large_images_are_looked_at_by_the_model_as_long_as_there_is_time(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "_PIXELS", 60 * 64)
    found = measure_reference(load(colour_bundle), lit, 100)
    assert found.images == 100
    assert found.classes is not None
    assert sum(found.classes) == 60
    assert found.brightness is not None
    assert sum(found.brightness.counts) == 100
    monkeypatch.setattr(reference, "_PIXELS", 49 * 64)
    assert measure_reference(load(colour_bundle), lit, 100).classes is None


def test_an_image_that_cannot_be_read_is_left_out(colour_bundle: Path) -> None:
    def read(number: int) -> NDArray[np.uint8]:
        if number == 7:
            raise ImageError("image 7")
        return lit(number)

    assert measure_reference(load(colour_bundle), read, 60).images == 59
    assert measure_reference(load(colour_bundle), lambda _: read(7), 60).images == 1


def test_each_beginning_of_the_order_is_spread_over_all() -> None:
    assert reference._spread(8) == [0, 4, 2, 6, 1, 5, 3, 7]
    assert reference._spread(6) == [0, 4, 2, 1, 5, 3]
