"""A bundle for segmentation: images of any size in, masks of that size out."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from convsmith.bundle.images.image_error import ImageError, ImageTooLarge
from convsmith.bundle.predictor import Bundle, load
from convsmith.bundle.segmentation import Segmentation
from convsmith.errors import ConvsmithError
from convsmith.spec import Preprocess, WholeImage, Window
from tests.bundle.test_format import reseal
from tests.colours import LABELS, colour_model, write_colour_bundle
from tests.stripes import pixel_colour_model, stripes, stripes_mask, stripes_png, write_pixel_bundle

COLOURS = ("red", "blue", "green", "red")


@pytest.fixture(scope="module")
def bundle(pixel_bundle: Path) -> Bundle[Segmentation]:
    return load(pixel_bundle, threads=1)


@pytest.mark.parametrize("size", [(9, 15), (64, 64), (1, 4), (33, 7), (120, 201)])
def test_predict_gives_a_mask_of_the_images_size(bundle: Bundle[Segmentation], size: tuple[int, int]) -> None:
    answer = bundle.predict(stripes(*COLOURS, size=size))
    assert np.array_equal(answer.mask, stripes_mask(*COLOURS, size=size))


@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 999))
def test_each_pixel_is_its_strongest_colour(bundle: Bundle[Segmentation], height: int, width: int, seed: int) -> None:
    pixels = np.random.RandomState(seed).randint(0, 256, (height, width, 3), np.uint8)
    assert np.array_equal(bundle.predict(pixels).mask, pixels.argmax(2))


def test_every_kind_of_image_gives_the_same_mask(bundle: Bundle[Segmentation], tmp_path: Path) -> None:
    content = stripes_png(*COLOURS)
    (tmp_path / "a.png").write_bytes(content)
    for source in (tmp_path / "a.png", content, Image.open(io.BytesIO(content)), stripes(*COLOURS)):
        assert np.array_equal(bundle.predict(source).mask, stripes_mask(*COLOURS))


def test_an_image_that_its_file_turns_is_segmented_upright(bundle: Bundle[Segmentation]) -> None:
    exif = Image.Exif()
    exif[274] = 6
    content = io.BytesIO()
    Image.fromarray(stripes("red", "blue")).save(content, "PNG", exif=exif)
    assert bundle.predict(content.getvalue()).mask.shape == (15, 9)


def test_preprocess_gives_the_image_as_it_is(bundle: Bundle[Segmentation]) -> None:
    assert np.array_equal(bundle.preprocess(stripes_png(*COLOURS)), stripes(*COLOURS).transpose(2, 0, 1))


def test_logits_have_the_images_size(bundle: Bundle[Segmentation]) -> None:
    assert bundle.logits(np.zeros((2, 3, 5, 7), np.uint8)).shape == (2, 3, 5, 7)


def test_the_answer_has_the_bundles_labels_and_colours(tmp_path: Path) -> None:
    colours = ((250, 0, 0), (0, 250, 0), (0, 0, 250))
    bundle: Bundle[Segmentation] = load(write_pixel_bundle(tmp_path / "b", colours=colours))
    answer = bundle.predict(stripes("blue", "green"))
    assert answer.labels == LABELS
    shown = np.asarray(Image.open(io.BytesIO(answer.index_png())).convert("RGB"))
    assert set(map(tuple, shown.reshape(-1, 3).tolist())) == {colours[1], colours[2]}


def test_without_colours_the_usual_ones_are_shown(bundle: Bundle[Segmentation]) -> None:
    shown = Image.open(io.BytesIO(bundle.predict(stripes("green")).index_png())).convert("RGB")
    assert shown.getpixel((0, 0)) == (128, 0, 0)


def test_predict_many_answers_in_order_with_the_error_of_a_bad_image_in_its_place(bundle: Bundle[Segmentation]) -> None:
    sizes = [(5, 9), (30, 4), (8, 8)]
    images: list[bytes] = [stripes_png("red", "blue", size=size) for size in sizes]
    images.insert(1, b"garbage")
    answers = list(bundle.predict_many(images, batch_size=2))
    assert isinstance(answers.pop(1), ImageError)
    assert [answer.mask.shape for answer in answers if isinstance(answer, Segmentation)] == sizes


def test_an_image_too_large_to_be_segmented_is_an_error_that_harms_no_other(
    bundle: Bundle[Segmentation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convsmith.bundle.segment.MAX_PASS_PIXELS", 100)
    small, large = stripes("red", size=(10, 10)), stripes("red", size=(10, 11))
    with pytest.raises(ImageTooLarge, match=r"photo\.png is too large"):
        bundle.predict(large, "photo.png")
    answers = list(bundle.predict_many([small, large, small]))
    assert [type(answer) for answer in answers] == [Segmentation, ImageTooLarge, Segmentation]


def test_looking_mirrored_lets_classes_change_places(bundle: Bundle[Segmentation]) -> None:
    # traded in the mirror image, red and blue have the same mean everywhere: the lower class wins
    traded = bundle.with_preprocess(flip=True, mirrored_classes=[[0, 2]])
    assert set(np.unique(traded.predict(stripes("blue", "red")).mask)) == {0}
    assert np.array_equal(bundle.with_preprocess(flip=True).predict(stripes(*COLOURS)).mask, stripes_mask(*COLOURS))


@pytest.mark.parametrize(
    "changes",
    [{"scales": [0.5, 1, 2]}, {"base_size": 60}, {"window": {"size": [4, 6]}}, {"flip": True, "scales": [1.5]}],
)
def test_looking_otherwise_still_gives_masks_of_the_images_size(
    bundle: Bundle[Segmentation], changes: dict[str, Any]
) -> None:
    size = (20, 45)
    mask = bundle.with_preprocess(**changes).predict(stripes(*COLOURS, size=size)).mask
    assert mask.shape == size
    assert np.mean(mask == stripes_mask(*COLOURS, size=size)) > 0.9


def test_the_former_name_of_looking_otherwise_works_and_warns(bundle: Bundle[Segmentation]) -> None:
    with pytest.warns(DeprecationWarning, match="with_preprocess"):
        assert bundle.looking(scales=[0.5]).manifest.preprocess == WholeImage(method="whole", scales=(0.5,))


def test_looking_otherwise_leaves_the_bundle_as_it_is(bundle: Bundle[Segmentation]) -> None:
    other = bundle.with_preprocess(scales=[0.5])
    assert other.manifest.preprocess == WholeImage(method="whole", scales=(0.5,))
    assert bundle.manifest.preprocess == WholeImage(method="whole")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"zoom": 2}, "zoom"),
        ({"flip": "often"}, "flip"),
        ({"scales": []}, "scales"),
        ({"scales": [0]}, "scales"),
        ({"method": "warp"}, "method"),
        ({"warp": True}, "set base_size"),
        ({"scales": {1.0}}, "not JSON serializable"),
        ({"mirrored_classes": [[1, 3]]}, r"mirrored_classes has the pair \[1, 3\], but classes are 0 to 2"),
    ],
)
def test_images_cannot_be_looked_at_in_ways_that_there_are_not(
    bundle: Bundle[Segmentation], changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConvsmithError, match=f"images cannot be looked at so: .*{reason}"):
        bundle.with_preprocess(**changes)


def test_a_classifier_looks_in_one_way_only(colour_bundle: Path) -> None:
    with pytest.raises(ConvsmithError, match="a classifier looks at images in one way only"):
        load(colour_bundle).with_preprocess(flip=True)


def test_preprocessing_with_windows_is_read_back(tmp_path: Path) -> None:
    spec = WholeImage(method="whole", window=Window(size=(8, 8), border="shift"), flip=True, mirrored_classes=((0, 1),))
    assert load(write_pixel_bundle(tmp_path / "b", preprocess=spec)).manifest.preprocess == spec


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"task": "classification"}, "task classification does not go with the preprocessing whole"),
        ({"preprocess": Preprocess(resize=8, crop=8)}, "task segmentation does not go with .* resize_then_crop"),
        ({"colours": ((0, 0, 0), (1, 1, 1))}, "2 colours for 3 labels"),
        ({"preprocess": WholeImage(method="whole", mirrored_classes=((0, 3),))}, "but classes are 0 to 2"),
    ],
)
def test_a_bundle_whose_parts_do_not_agree_is_not_written(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConvsmithError, match=reason):
        write_pixel_bundle(tmp_path / "b", **changes)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"task": "classification"}, "task classification does not go with"),
        ({"colours": [[0, 0, 0]] * 4}, "4 colours for 3 labels"),
        ({"preprocess": {"method": "whole", "flip": 1}}, "flip"),
        ({"preprocess": {"method": "whole", "mirrored_classes": [[-1, 2]]}}, "classes are 0 to 2"),
    ],
)
def test_a_manifest_whose_parts_do_not_agree_is_damaged(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    bundle = write_pixel_bundle(tmp_path / "b")
    reseal(bundle, **changes)
    with pytest.raises(ConvsmithError, match=f"is damaged: in bundle.json, .*{reason}"):
        load(bundle)


def test_a_model_with_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    bundle = write_pixel_bundle(tmp_path / "b", model=pixel_colour_model(5))
    with pytest.raises(ConvsmithError, match=r"gives \(5, 64, 64\) logits for 3 labels"):
        load(bundle)


def test_a_model_of_whole_images_is_refused(tmp_path: Path) -> None:
    bundle = write_pixel_bundle(tmp_path / "b", model=colour_model(side=64))
    with pytest.raises(ConvsmithError, match=r"gives \(3,\) logits for 3 labels"):
        load(bundle)


def test_a_model_of_pixels_is_no_classifier(tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "b", pixel_colour_model())
    with pytest.raises(ConvsmithError, match=r"gives \(3, 8, 8\) logits for 3 labels"):
        load(bundle)
