"""What later images are held against: its bins, and the index by which they are told apart."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convsmith.bundle.distance import DistanceFacts
from convsmith.bundle.format import read_manifest
from convsmith.bundle.reference import (
    Reference,
    brightness,
    class_groups,
    distance_histogram,
    histogram,
    stability_index,
)
from convsmith.bundle.write import Card, rewrite_manifest
from convsmith.errors import ConvsmithError
from tests.colours import LABELS, write_colour_bundle


def test_the_index_is_that_computed_by_hand() -> None:
    # 99.5 + .5, 199.5 + .5, 699.5 + .5 of 1000; and 299.5, 299.5, 399.5 likewise
    by_hand = (0.3 - 0.1) * math.log(3) + (0.3 - 0.2) * math.log(1.5) + (0.4 - 0.7) * math.log(4 / 7)
    assert by_hand == pytest.approx(0.42815, abs=1e-5)
    assert stability_index([99.5, 199.5, 699.5], [299.5, 299.5, 399.5]) == pytest.approx(by_hand)


def test_equal_shares_have_the_index_0() -> None:
    assert stability_index([10, 20, 0], [10, 20, 0]) == 0


def test_bins_that_are_empty_in_both_count_for_nothing() -> None:
    assert stability_index([30, 70, 0, 0], [60, 40, 0, 0]) == stability_index([30, 70], [60, 40])


def test_a_bin_that_is_empty_in_one_is_finite() -> None:
    assert 1 < stability_index([500, 500], [1000, 0]) < 5


def test_images_of_the_same_kind_stay_under_a_tenth() -> None:
    draw = np.random.default_rng(0)
    found = histogram(draw.normal(size=500))
    assert found
    actual = np.bincount([found.bin_of(it) for it in draw.normal(size=1000)], minlength=len(found.counts))
    assert stability_index(found.counts, list(actual)) < 0.1


def test_bins_hold_as_many_numbers_each() -> None:
    found = histogram(np.arange(1000))
    assert found
    assert found.counts == (100.0,) * 10


@pytest.mark.parametrize(("count", "bins"), [(50, 2), (100, 5), (199, 9), (200, 10), (10_000, 10)])
def test_few_numbers_have_few_bins(count: int, bins: int) -> None:
    found = histogram(np.arange(count))
    assert found
    assert len(found.counts) == bins


def test_too_few_numbers_have_none() -> None:
    assert histogram(np.arange(49)) is None


def test_numbers_that_are_all_the_same_are_one_bin_of_two() -> None:
    found = histogram([1.0] * 300)
    assert found
    assert (found.edges, found.counts) == ((1.0,), (0.0, 300.0))
    assert found.bin_of(1.0) == 1


def test_a_number_on_an_edge_is_in_the_bin_where_it_was_counted() -> None:
    numbers = np.repeat(np.arange(20), 50)
    found = histogram(numbers)
    assert found
    assert list(np.bincount([found.bin_of(float(it)) for it in numbers], minlength=len(found.counts))) == list(
        found.counts
    )


def test_distances_have_the_bins_of_their_quantiles() -> None:
    found = distance_histogram(
        DistanceFacts(images=10, neighbours=2, quantiles=tuple(np.linspace(0, 1, 101)), held_out=400)
    )
    assert found
    assert found.edges == pytest.approx(np.arange(1, 10) / 10)
    assert found.counts == pytest.approx([40] * 10)


def test_distances_that_are_equal_share_a_bin() -> None:
    quantiles = tuple(np.repeat([0.1, 0.5], [51, 50]))  # half of them is 0.1
    found = distance_histogram(DistanceFacts(images=10, neighbours=2, quantiles=quantiles, held_out=400))
    assert found
    assert sum(found.counts) == pytest.approx(400)
    assert found.bin_of(0.1) != found.bin_of(0.5)


def test_classes_have_a_bin_each_where_images_suffice() -> None:
    assert list(class_groups([100, 50, 200])) == [0, 1, 2]


def test_many_classes_share_twenty_bins_of_about_the_same_size() -> None:
    counts = list(range(1000, 0, -1))
    sizes = np.bincount(class_groups(counts), counts)
    assert len(sizes) == 20
    assert sizes.max() / sizes.min() < 1.05


def test_brightness_is_the_mean_of_the_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 60, 63), np.uint8)
    assert brightness(image) == pytest.approx(float(image.mean()) / 255)


def test_the_brightness_of_a_large_image_is_that_of_some_rows_and_columns() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 2000, 3000), np.uint8)
    assert brightness(image) == pytest.approx(float(image.mean()) / 255, abs=0.01)


def test_a_reference_of_other_classes_is_refused(tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "bundle")
    manifest = read_manifest(bundle)
    card = replace(Card.of(manifest), reference=Reference(images=9, classes=(1.0,) * (len(LABELS) + 1)))
    with pytest.raises(ConvsmithError, match="cannot write the bundle"):
        rewrite_manifest(bundle, card, manifest.files)
