"""A bundle for segmentation against true masks: which images are judged, and what is said of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from convsmith.analyze.evaluate import evaluate_bundle
from convsmith.bundle.figures.segmentation_metrics import SegmentationResults
from convsmith.bundle.predictor import Bundle, load
from convsmith.bundle.segmentation import Segmentation
from convsmith.data.digest import data_digest
from convsmith.data.masks.mask_folder import open_mask_folder
from convsmith.data.split import Share
from convsmith.errors import ConvsmithError
from convsmith.recipe.mask_data import Masks
from tests.colours import LABELS, without_answer_on_white
from tests.stripes import pixel_colour_model, stripes_mask, stripes_png, write_pixel_bundle, write_stripes

TRAIN = [("red",), ("green",), ("blue",), ("red", "blue")]
VAL = [("red", "green"), ("blue", "red", "blue"), ("green",)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_stripes(tmp_path / "data", "train", TRAIN)
    return write_stripes(tmp_path / "data", "val", VAL)


def spoil(mask: Path) -> None:
    """Let a third of the true pixels be another class than what is seen, and a third not count."""
    pixels = np.asarray(Image.open(mask)).copy()
    pixels[:3], pixels[3:6] = 2, 255
    Image.fromarray(pixels).save(mask)


def trained_on(tmp_path: Path, data: Path, val_fraction: float = 0.1, **masks: Any) -> Path:
    """A bundle whose manifest says that it was trained on some data."""
    digest = data_digest(open_mask_folder(data, Masks(**masks), Share(val_fraction)))
    recipe = {"data": {"val_fraction": val_fraction, "masks": masks or None}}
    return write_pixel_bundle(tmp_path / "trained", recipe=recipe, data_digest=digest)


def test_the_figures_are_those_of_the_predicted_masks(pixel_bundle: Path, data: Path) -> None:
    spoil(data / "masks" / "val" / "0.png")
    bundle: Bundle[Segmentation] = load(pixel_bundle)
    expected = SegmentationResults(3, boundary=True)
    for i in range(len(VAL)):
        true = np.asarray(Image.open(data / f"masks/val/{i}.png"))
        expected.update(bundle.predict(data / f"images/val/{i}.png").mask, true)
    report = evaluate_bundle(pixel_bundle, data, boundary=True)
    figures = {name: getattr(report, name) for name in ("miou", "mean_accuracy", "pixel_accuracy", "boundary_iou")}
    assert figures == expected.compute()
    assert figures["miou"] < 1
    assert report.iou == tuple(expected.iou())
    assert report.accuracy == tuple(expected.accuracy())
    assert report.confusion == tuple(map(tuple, expected.confusion))
    assert report.pixels == tuple(expected.pixels)


def test_the_validation_part_is_judged(pixel_bundle: Path, data: Path) -> None:
    report = evaluate_bundle(pixel_bundle, data)
    assert (report.images, report.miou, report.labels) == (len(VAL), 1.0, LABELS)


def test_boundaries_are_measured_where_they_are_asked_for(pixel_bundle: Path, data: Path) -> None:
    assert evaluate_bundle(pixel_bundle, data).boundary_iou is None
    assert evaluate_bundle(pixel_bundle, data, boundary=True).boundary_iou == 1.0


def test_data_without_a_validation_part_are_judged_as_a_whole(pixel_bundle: Path, tmp_path: Path) -> None:
    assert evaluate_bundle(pixel_bundle, write_stripes(tmp_path / "data", "train", TRAIN)).images == len(TRAIN)


def test_data_with_a_validation_part_alone_are_judged_by_it(pixel_bundle: Path, tmp_path: Path) -> None:
    assert evaluate_bundle(pixel_bundle, write_stripes(tmp_path / "data", "val", VAL)).images == len(VAL)


def test_images_and_masks_without_parts_are_judged(pixel_bundle: Path, tmp_path: Path) -> None:
    assert evaluate_bundle(pixel_bundle, write_stripes(tmp_path / "data", ".", VAL)).images == len(VAL)


def test_the_part_held_out_of_training_is_judged(tmp_path: Path) -> None:
    data = write_stripes(tmp_path / "data", "train", TRAIN * 5)
    report = evaluate_bundle(trained_on(tmp_path, data, val_fraction=0.25), data)
    assert (report.images, report.held_out) == (5, True)


def test_the_validation_part_of_the_training_data_is_held_out(tmp_path: Path, data: Path) -> None:
    report = evaluate_bundle(trained_on(tmp_path, data), data)
    assert (report.images, report.held_out) == (len(VAL), True)


def test_moved_data_are_still_those_of_the_training(tmp_path: Path, data: Path) -> None:
    bundle = trained_on(tmp_path, data)
    assert evaluate_bundle(bundle, data.rename(tmp_path / "moved")).held_out


def test_other_data_are_not_held_out(tmp_path: Path, data: Path) -> None:
    bundle = trained_on(tmp_path, data)
    write_stripes(data, "train", [*TRAIN, ("red",)])
    assert not evaluate_bundle(bundle, data).held_out


def test_masks_are_read_as_in_training(tmp_path: Path, data: Path) -> None:
    for path in (data / "masks").rglob("*.png"):
        pixels = np.asarray(Image.open(path))
        Image.fromarray(pixels * 10 + 5).save(path)
    label_map = ((5, 0), (15, 1), (25, 2))
    assert evaluate_bundle(trained_on(tmp_path, data, label_map=label_map), data).miou == 1.0


def test_parts_are_those_of_the_training(tmp_path: Path, data: Path) -> None:
    lines = [f"images/val/{i}.png\tmasks/val/{i}.png\n" for i in (0, 2)]
    (data / "judged.lst").write_text("".join(lines))
    bundle = trained_on(tmp_path, data, val="judged.lst")
    assert evaluate_bundle(bundle, data).images == 2
    shutil.rmtree(data / "images" / "train")
    report = evaluate_bundle(bundle, data)
    assert (report.images, report.held_out) == (2, False)


@pytest.mark.parametrize("classes", ["red\nblue\ngreen\n", "red\ngreen\n", "red\ngreen\nblue\nsky\n"])
@pytest.mark.parametrize("trained", [False, True])
def test_data_with_other_classes_are_an_error(tmp_path: Path, data: Path, classes: str, trained: bool) -> None:
    bundle = trained_on(tmp_path, data) if trained else write_pixel_bundle(tmp_path / "bundle")
    (data / "classes.txt").write_text(classes)
    with pytest.raises(ConvsmithError, match="has other classes than the bundle") as caught:
        evaluate_bundle(bundle, data)
    assert "`blue`" in caught.value.fix


def test_a_folder_without_masks_is_an_error(pixel_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match="images"):
        evaluate_bundle(pixel_bundle, tmp_path)


def test_bad_pairs_are_left_out_and_named(pixel_bundle: Path, data: Path) -> None:
    (data / "images" / "val" / "1.png").write_bytes(b"")
    Image.fromarray(stripes_mask("red", size=(3, 3))).save(data / "masks" / "val" / "2.png")
    report = evaluate_bundle(pixel_bundle, data)
    assert report.images == 1
    assert [Path(line.partition(": ")[0].split()[-1]).name for line in report.unreadable] == ["1.png", "2.png"]


def test_an_image_too_large_to_be_segmented_is_left_out_and_named(
    pixel_bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convsmith.bundle.segment.MAX_PASS_PIXELS", 200)
    size = (20, 20)
    (data / "images" / "val" / "1.png").write_bytes(stripes_png("red", size=size))
    Image.fromarray(stripes_mask("red", size=size)).save(data / "masks" / "val" / "1.png")
    report = evaluate_bundle(pixel_bundle, data)
    assert report.images == len(VAL) - 1
    (line,) = report.unreadable
    assert line.startswith(f"{data / 'images' / 'val' / '1.png'} is too large")


def test_without_one_readable_image_there_is_nothing_to_judge(pixel_bundle: Path, data: Path) -> None:
    for path in (data / "masks").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(ConvsmithError, match="can be judged"):
        evaluate_bundle(pixel_bundle, data)


def test_a_part_that_is_not_whole_is_an_error_and_no_other_part_stands_in_for_it(
    pixel_bundle: Path, data: Path
) -> None:
    (data / "masks" / "val" / "1.png").unlink()
    with pytest.raises(ConvsmithError, match=r"1 of 3 images .* have no mask"):
        evaluate_bundle(pixel_bundle, data)


def test_images_are_looked_at_as_asked(pixel_bundle: Path, data: Path) -> None:
    report = evaluate_bundle(pixel_bundle, data, preprocess={"flip": True, "mirrored_classes": [[0, 2]]})
    assert report.accuracy == (1.0, 1.0, 0.0)  # red wins wherever red and blue are mixed


def test_the_former_name_of_that_works_and_warns(pixel_bundle: Path, data: Path) -> None:
    with pytest.warns(DeprecationWarning, match="preprocess"):
        report = evaluate_bundle(pixel_bundle, data, looking={"flip": True, "mirrored_classes": [[0, 2]]})
    assert report.accuracy == (1.0, 1.0, 0.0)


def test_progress_tells_how_many_images_are_done(pixel_bundle: Path, data: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    evaluate_bundle(pixel_bundle, data, progress=lambda *it: told.append(it))
    assert told == [("evaluate", 1, 3), ("evaluate", 2, 3), ("evaluate", 3, 3)]


@pytest.mark.parametrize(
    ("options", "reason"), [({"boundary": True}, "masks"), ({"preprocess": {"flip": True}}, "way")]
)
def test_a_classifier_has_neither_boundaries_nor_other_ways_to_look(
    colour_bundle: Path, data: Path, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConvsmithError, match=reason):
        evaluate_bundle(colour_bundle, data, **options)


def test_an_image_without_a_finite_answer_is_left_out_and_named(tmp_path: Path, data: Path) -> None:
    bundle = write_pixel_bundle(tmp_path / "fragile", model=without_answer_on_white(pixel_colour_model()))
    white = data / "images" / "val" / "1.png"
    Image.new("RGB", Image.open(white).size, "white").save(white)
    report = evaluate_bundle(bundle, data)
    assert (report.images, report.pixel_accuracy) == (len(VAL) - 1, 1.0)
    assert report.unreadable == (f"the model gives no answer for {white}: its logits are not finite numbers",)
