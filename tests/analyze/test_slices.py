"""Parts of the images on which a model is worse, found where they are planted, and not by chance."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convsmith as cs
from convsmith.analyze.image_facts import facts_of
from convsmith.analyze.slice_factors import Factor, column_factor, folder_factors
from convsmith.analyze.slices import find_slices
from convsmith.bundle.figures.slices import Slices
from convsmith.errors import ConvsmithError
from tests.colours import LABELS
from tests.noisy_colours import BRIGHT, write_grainy


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images of each colour; half of the red ones are dark, and seem blue to the bundle."""
    folder, random = tmp_path_factory.mktemp("photos"), np.random.RandomState(0)
    rows = []
    for label in LABELS:
        for i in range(40):
            colour, camera = BRIGHT[label], f"c{i % 2}"
            if label == "red" and i % 2:
                colour = (10, 10, 30)
            write_grainy(folder / label / camera / f"{i:02}.png", colour, random)
            rows.append([f"{label}/{camera}/{i:02}.png", label, "old" if i % 2 else "new", i])
    with (folder / "labels.csv").open("w") as file:
        csv.writer(file).writerows([["image", "label", "lens", "hour"], *rows])
    return folder


def slices_of(bundle: Path, data: Path, columns: Sequence[str] = ()) -> Slices:
    found = cs.evaluate(bundle, data, progress=lambda *_: None, columns=columns).slices
    assert found is not None
    return found


@pytest.fixture(scope="module")
def slices(colour_bundle: Path, photos: Path) -> Slices:
    return slices_of(colour_bundle, photos)


def named(found: Slices) -> list[dict[str, str]]:
    return [dict(it.conditions) for it in found.worst]


def test_darkened_images_of_a_class_are_found(slices: Slices) -> None:
    low, high = slices.edges["brightness"][:2]
    assert {"class": "red", "brightness": f"{low:.1f} to {high:.1f}"} in named(slices)


def test_a_worst_slice_has_its_figure_its_images_and_an_interval(slices: Slices) -> None:
    worst = next(it for it in slices.worst if it.conditions == {"class": "red", "folder": "*/c1"})
    assert (worst.images, worst.value) == (20, 0.0)
    assert worst.interval[0] == 0.0
    assert worst.interval[1] < 0.2


def test_slices_are_json(slices: Slices) -> None:
    found = json.loads(json.dumps(slices.to_dict(), allow_nan=False))
    assert found["slices"][0]["stands_out"] is True
    assert {"figure", "value", "edges", "slices"} == found.keys()


def test_classes_that_are_right_do_not_stand_out(slices: Slices) -> None:
    assert not [it for it in named(slices) if it.get("class") in ("green", "blue")]


def test_the_edges_of_the_bins_are_stated(slices: Slices) -> None:
    edges = slices.edges["brightness"]
    assert list(edges) == sorted(edges)
    assert 0 < edges[0] < 30 < edges[-1] < 130


def test_a_column_of_the_table_is_compared(colour_bundle: Path, photos: Path) -> None:
    found = slices_of(colour_bundle, photos / "labels.csv", columns=["lens", "hour"])
    assert "hour" in found.edges
    assert {"class": "red", "lens": "old"} in named(found)
    assert any("class red, lens old: 0.0%" in line for line in found.lines())


def test_a_column_that_is_not_there_is_an_error_before_anything_is_judged(colour_bundle: Path, photos: Path) -> None:
    with pytest.raises(ConvsmithError, match="has no column `zoom`"):
        cs.evaluate(colour_bundle, photos / "labels.csv", columns=["zoom"])
    with pytest.raises(ConvsmithError, match="the images are not those of a table"):
        cs.evaluate(colour_bundle, photos, columns=["lens"])


def test_masks_are_compared_by_the_iou_of_each_image(pixel_bundle: Path, tmp_path: Path) -> None:
    random = np.random.RandomState(1)
    for i in range(60):
        dark = i % 3 == 0
        write_grainy(tmp_path / "images" / f"{i}.png", (10, 10, 30) if dark else (200, 20, 20), random)
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(np.zeros((12, 10), np.uint8)).save(tmp_path / "masks" / f"{i}.png")
    (tmp_path / "classes.txt").write_text("\n".join(LABELS))
    found = slices_of(pixel_bundle, tmp_path)
    assert found.figure == "image_iou"
    assert any("brightness" in it for it in named(found))


def test_chance_alone_makes_nothing_stand_out() -> None:
    random, count = np.random.RandomState(3), 2000
    stood_out = 0
    for _ in range(20):
        scores = (random.rand(count) < 0.8).astype(float)
        factors = [Factor(f"f{i}", tuple("abcde"), random.randint(0, 5, count)) for i in range(5)]
        classes = {str(k): np.arange(k, count, 10) for k in range(10)}
        stood_out += bool(find_slices("top1", scores, classes, factors).worst)
    assert stood_out <= 3


def test_a_class_is_not_named_again_with_each_brightness() -> None:
    scores = np.r_[np.zeros(100), np.ones(300)]
    bins = Factor("brightness", ("0 to 1", "1 to 2"), np.arange(400) % 2)
    found = find_slices("top1", scores, {"a": np.arange(100), "b": np.arange(100, 400)}, [bins])
    assert [it.conditions for it in found.worst] == [{"class": "a"}]


def test_folders_are_compared_level_by_level() -> None:
    factors = folder_factors([f"/data/{a}/{b}/x.jpg" for a in "pq" for b in "rs"])
    assert [it.values for it in factors] == [("p", "q"), ("*/r", "*/s")]


def test_many_numbers_of_a_column_come_into_bins_and_few_words_do_not() -> None:
    binned, listed = column_factor("hour", [str(i) for i in range(50)]), column_factor("lens", ["a", "b", None, "a"])
    assert binned is not None
    assert binned.edges[0] == 0
    assert binned.edges[-1] == 49
    assert listed is not None
    assert (listed.values, listed.numbers.tolist()) == (("a", "b"), [0, 1, -1, 0])


def test_brightness_and_sharpness_are_those_of_the_picture() -> None:
    grey = facts_of(Image.new("RGB", (300, 600), (100, 100, 100)))
    assert grey == (300, 600, 100.0, 0.0)
    checks = np.indices((40, 40)).sum(0) % 2 * 255
    sharp = Image.fromarray(np.stack([checks.astype(np.uint8)] * 3, 2))
    blurred = sharp.resize((20, 20), Image.Resampling.BOX).resize((40, 40))
    assert facts_of(sharp).sharpness > 100 * facts_of(blurred).sharpness


def test_a_picture_of_one_pixel_and_one_of_many_bands_have_facts() -> None:
    assert facts_of(np.full((1, 1, 1), 7, np.uint8)) == (1, 1, 7.0, 0.0)
    assert facts_of(np.full((5, 4, 6), 9, np.uint8))[:3] == (4, 5, 9.0)
