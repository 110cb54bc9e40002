"""Which packaged recipe suits a folder of images, by plain rules, and why."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from convsmith.bundle.decode import ImageError, check_header
from convsmith.data.image_folder import open_image_folder
from convsmith.data.index import Index, printable
from convsmith.data.layout import quoted
from convsmith.data.scan import list_folder
from convsmith.errors import ConvsmithError
from convsmith.models.published import weights
from convsmith.recipe.load import load_recipe
from convsmith.recipe.schema import Data

SMALL_SIDE = 40  # pixels; enlarging such images to 224 shows a network nothing new
FEW_IMAGES = 5000  # below, features learned elsewhere are worth more than 60 epochs from scratch
IMBALANCE = 10
SAMPLE = 200

_IMAGE_FOLDERS = frozenset({"images", "image", "imgs", "img", "jpegimages", "leftimg8bit"})
_MASK_FOLDERS = frozenset({"masks", "mask", "annotations", "labels", "segmentationclass", "gtfine"})


@dataclass(frozen=True)
class Choice:
    """A recipe for some data.

    Attributes:
        recipe: its name.
        overrides: what to change in it, as `key=value` words.
        reasons: one line for each fact and what follows from it.
    """

    recipe: str
    overrides: tuple[str, ...]
    reasons: tuple[str, ...]


def choose_recipe(data: Path) -> Choice:
    """Choose by the number of training images, their size and the balance of the classes.

    Sizes are those of at most `SAMPLE` images, evenly spread over the training images. Pretrained weights that the
    choice would need are downloaded first; where they cannot be had, another recipe is chosen.

    Raises:
        ConvsmithError: it is no folder of images to classify, or no image of the sample can be read.
    """
    _refuse_masks(data)
    folder = open_image_folder(data, Data().val_fraction)
    total, side = len(folder.train), _median_side(folder.train)
    counts = np.bincount(folder.train.targets, minlength=len(folder.classes))
    most, fewest = int(counts.max()), int(counts.min())
    reasons = [
        f"{total:,} training images in {len(folder.classes)} classes of {fewest:,} to {most:,}",
        f"their shorter side has {side:g} pixels, the median of {min(total, SAMPLE)} images",
    ]
    if side <= SMALL_SIDE:
        recipe, overrides = "cifar_resnet20-cifar10-short", ["model.num_classes=null"]
        reasons.append(f"at most {SMALL_SIDE} pixels: a network for images as small as CIFAR's")
        if total < FEW_IMAGES:
            overrides += ["batch.size=32", "optimizer.lr=0.05", "schedule.epochs=30"]
            reasons.append(f"fewer than {FEW_IMAGES:,} images: smaller batches and more epochs, for enough steps")
    elif total < FEW_IMAGES and (missing := _why_no_pretrained_weights()) is None:
        recipe, overrides = "finetune-small", []
        reasons.append(f"fewer than {FEW_IMAGES:,} images: pretrained weights know more than these can teach")
    else:
        recipe, overrides = "resnet18-folder", []
        if total < FEW_IMAGES:
            reasons.append(f"from scratch, though fewer than {FEW_IMAGES:,} images: no pretrained weights, {missing}")
        else:
            reasons.append(f"{FEW_IMAGES:,} images or more: enough to train from scratch")
    if most >= IMBALANCE * fewest:
        ratio = f"the largest class has {most / fewest:.0f} times the images of the smallest"
        reasons.append(f"{ratio}: each class is drawn and judged alike")
        if recipe == "resnet18-folder":
            recipe = "imbalanced"
        else:
            overrides += ["sampling.name=balanced", "metric=balanced_accuracy"]
    reasons.append("every other image is mirrored; where that changes the meaning, add augment.hflip=0")
    return Choice(recipe, tuple(overrides), tuple(reasons))


def _why_no_pretrained_weights() -> str | None:
    """None once the weights of `finetune-small` are on this machine."""
    name = load_recipe("finetune-small").model.weights
    assert name is not None
    try:
        weights(name).download()
    except ConvsmithError as error:
        return f"{error.what} ({error.why})"
    return None


def _median_side(index: Index) -> float:
    """The median length in pixels of the shorter side, by the headers of the sample."""
    sides = []
    for i in np.linspace(0, len(index) - 1, min(len(index), SAMPLE)).round().astype(int):
        path = index.path(i)
        with suppress(ImageError):  # training names each bad file
            check_header(path)
            with Image.open(path) as image:
                sides.append(min(image.size))
    if not sides:
        raise ConvsmithError(
            f"none of {min(len(index), SAMPLE)} images in {printable(index.root)} can be read",
            fix="Name a recipe and the folder with --data to see what is wrong with each.",
        )
    return float(np.median(sides))


def _refuse_masks(data: Path) -> None:
    """ConvsmithError for a folder of images and masks, whose two folders would pass for two classes."""
    for directory in (data, data / "train"):
        names = list_folder(directory).folders if directory.is_dir() else []
        masks = [name for name in names if name.casefold() in _MASK_FOLDERS]
        if masks and any(name.casefold() in _IMAGE_FOLDERS for name in names):
            raise ConvsmithError(
                f"{printable(directory)} looks like data for segmentation: it has {quoted(masks)} beside images",
                "convsmith trains classification; segmentation comes with the next version",
                "If these are classes, name a recipe and the folder with --data.",
            )
