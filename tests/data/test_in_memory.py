"""Images that Python holds are data like any others."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.random import RandomState
from PIL import Image
from torch.utils.data import Dataset

from convsmith.analyze.check_data import check_data
from convsmith.bundle.images.image_error import ImageError
from convsmith.data.dataset import DataSet
from convsmith.data.memory.in_memory import in_memory, open_in_memory
from convsmith.data.split import Share
from convsmith.errors import ConvsmithError
from convsmith.recipe.data import Data
from convsmith.recipe.mask_data import Masks

PIXELS = RandomState(0).randint(0, 256, (12, 10, 14, 3), np.uint8)
LABELS = ["cat", "dog", "ant"] * 4


def opened(data: object, task: str = "classification", section: Data | None = None) -> DataSet:
    held = in_memory(data)
    assert held is not None
    return open_in_memory(task, held, section or Data(), Share(0.25))


def png(pixels: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def pixels_and_labels(dataset: DataSet) -> list[tuple[bytes, str]]:
    """All training and validation images with their labels, sorted."""
    parts = [(part, i) for part in (dataset.train, dataset.val) for i in range(len(part))]
    read = [part.read(i) for part, i in parts]
    return sorted((np.asarray(picture).tobytes(), dataset.classes[target]) for picture, target in read)


class Pairs(Dataset[Any]):
    """A data set of torch."""

    def __len__(self) -> int:
        return len(PIXELS)

    def __getitem__(self, i: int) -> tuple[Image.Image, str]:
        return Image.fromarray(PIXELS[i]), LABELS[i]


class Listed(Pairs):
    """One of torchvision, which lists its targets."""

    classes = ["ant", "cat", "dog"]  # noqa: RUF012
    targets = [1, 2, 0] * 4


KINDS = {
    "array": (PIXELS, LABELS),
    "list of arrays": ([*PIXELS], np.array(LABELS)),
    "tensor": (torch.from_numpy(PIXELS).permute(0, 3, 1, 2), LABELS),
    "pillow": ([Image.fromarray(pixels) for pixels in PIXELS], tuple(LABELS)),
    "bytes": ([png(pixels) for pixels in PIXELS], LABELS),
    "dataset of torch": Pairs(),
    "dataset of torchvision": Listed(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_images_keeps_its_pixels_and_labels(kind: str) -> None:
    expected = sorted((pixels.tobytes(), label) for pixels, label in zip(PIXELS, LABELS, strict=True))
    assert pixels_and_labels(opened(KINDS[kind])) == expected


def test_paths_are_read(tmp_path: Path) -> None:
    for i, pixels in enumerate(PIXELS):
        (tmp_path / f"{i}.png").write_bytes(png(pixels))
    dataset = opened(([str(tmp_path / f"{i}.png") for i in range(12)], LABELS))
    assert pixels_and_labels(dataset) == pixels_and_labels(opened((PIXELS, LABELS)))


def test_a_share_of_each_class_is_held_out_the_same_each_time() -> None:
    first, second = opened((PIXELS, LABELS)), opened((PIXELS, LABELS))
    assert sorted(first.val.targets.tolist()) == [0, 1, 2]
    assert first.names_digest == second.names_digest


def test_validation_images_may_be_given() -> None:
    dataset = opened({"train": (PIXELS, LABELS), "val": (PIXELS[:2], ["dog", "ant"])})
    assert (len(dataset.train), dataset.val.targets.tolist()) == (12, [2, 0])


def test_a_class_of_masks_that_is_to_be_ignored_is_refused() -> None:
    masks = RandomState(1).randint(0, 3, (12, 10, 14), np.uint8)
    with pytest.raises(ConvsmithError, match="ignore_index"):
        opened((PIXELS, masks), "segmentation", Data(masks=Masks(classes=("a", "b", "c"), ignore_index=0)))


def test_numbers_are_classes_in_their_order() -> None:
    assert opened((PIXELS, [10, 9, 100] * 4)).classes == ("9", "10", "100")


def test_other_pixels_are_other_data() -> None:
    changed = PIXELS.copy()
    changed[5, 0, 0, 0] ^= 1
    assert opened((PIXELS, LABELS)).names_digest != opened((changed, LABELS)).names_digest


@pytest.mark.parametrize("dtype", [bool, np.int16, np.int64])
def test_masks_may_be_whole_numbers_of_any_type(dtype: type) -> None:
    masks: Any = RandomState(1).randint(0, 2, (12, 10, 14)).astype(dtype)
    section = Data(masks=Masks(classes=("a", "b")))
    for data in (masks, torch.from_numpy(masks), torch.from_numpy(masks)[:, None]):
        read = {opened((PIXELS, data), "segmentation", section).train.read(i)[1].tobytes() for i in range(9)}
        assert read <= {mask.astype(np.uint8).tobytes() for mask in masks}


def test_masks_are_classes_of_pixels() -> None:
    masks = RandomState(1).randint(0, 3, (12, 10, 14), np.uint8)
    dataset = opened((PIXELS, masks), "segmentation", Data(masks=Masks(classes=("a", "b", "c"))))
    read = [part.read(i)[1] for part in (dataset.train, dataset.val) for i in range(len(part))]
    assert sorted(mask.tobytes() for mask in read) == sorted(mask.tobytes() for mask in masks)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((PIXELS, LABELS[:5]), "there are 12 images, but 5 labels or masks"),
        ((PIXELS, ["cat"] * 12), "there is one class in memory: cat"),
        ({"train": (PIXELS, LABELS), "valid": None}, "known are train and val"),
        ({"train": (PIXELS, LABELS), "val": (PIXELS, ["cow"] * 12)}, "no training image has the label `cow`"),
        (3, "a int is not data"),
    ],
)
def test_what_is_no_data_says_so(data: object, message: str) -> None:
    with pytest.raises(ConvsmithError, match=message):
        opened(data)


def test_pixels_of_another_kind_are_a_bad_image() -> None:
    dataset = opened((PIXELS / 255, LABELS))
    with pytest.raises(ImageError, match=r"train image \d+: its pixels are numbers of type float64"):
        dataset.train.read(0)
    dataset = opened((PIXELS > 9, LABELS))
    with pytest.raises(ImageError, match=r"train image \d+: it is an array \[10, 14, 3\] of bool, not numbers"):
        dataset.train.read(0)


def test_a_path_is_not_in_memory() -> None:
    assert in_memory(Path("photos")) is None


SEVERAL = [["cat", "dog"], ["dog"], [], ["cat"]] * 3
MATRIX = np.array([[1, 1], [0, 1], [0, 0], [1, 0]] * 3, np.uint8)


@pytest.mark.parametrize(
    ("targets", "classes"),
    [
        (SEVERAL, ("cat", "dog")),
        ([set(labels) for labels in SEVERAL], ("cat", "dog")),
        (MATRIX, ("0", "1")),
        (torch.from_numpy(MATRIX), ("0", "1")),
        (MATRIX.astype(float).tolist(), ("0", "1")),
    ],
)
def test_an_image_may_have_several_labels(targets: Any, classes: tuple[str, ...]) -> None:
    dataset = opened({"train": (PIXELS, targets), "val": (PIXELS[:4], targets[:4])}, "multilabel")
    assert dataset.classes == classes
    assert [dataset.train.read(i)[1].tolist() for i in range(len(PIXELS))] == MATRIX.tolist()


def test_a_share_of_each_rarest_label_is_held_out() -> None:
    dataset = opened((PIXELS, SEVERAL), "multilabel")
    assert (len(dataset.train), len(dataset.val)) == (8, 4)
    assert dataset.count_classes(np.arange(8)).min() > 0


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([[0, 2]] * 12, "neither names nor a 0 or 1 for each class"),
        ([[0, 1], *[[0, 1, 1]] * 11], "neither names nor a 0 or 1 for each class"),
        (["cat"] * 12, "the labels of an image in memory are a str"),
        ([["cat"]] * 12, "fewer than two labels"),
    ],
)
def test_other_targets_are_no_labels(targets: Any, message: str) -> None:
    with pytest.raises(ConvsmithError, match=message):
        opened((PIXELS, targets), "multilabel")


def test_a_label_of_validation_images_alone_is_named() -> None:
    with pytest.raises(ConvsmithError, match="no training image has the label `eel`"):
        opened({"train": (PIXELS, SEVERAL), "val": (PIXELS[:1], [["eel"]])}, "multilabel")


def test_images_in_memory_are_looked_at_like_files() -> None:
    twice = np.concatenate([PIXELS, PIXELS[:1]])
    found = check_data({"train": (twice, [*LABELS, "ant"]), "val": (PIXELS, LABELS)})
    assert found.samples == {"train": 13, "val": 12}
    assert any("12 of 12 validation images are among the training images too" in str(line) for line in found.copies)


def test_bundles_cannot_judge_labels_in_memory(colour_bundle: Path) -> None:
    with pytest.raises(ConvsmithError, match="bundles cannot judge the labels of 12 images in memory"):
        check_data((PIXELS, LABELS), bundles=[colour_bundle])
