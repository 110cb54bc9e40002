"""Which packaged recipe suits a folder of images, by plain rules, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.decode import ImageError, check_header
from convsmith.data.dataset import Samples
from convsmith.data.image_folder import open_image_folder
from convsmith.data.index import printable
from convsmith.data.layout import quoted
from convsmith.data.mask_folder import open_mask_folder
from convsmith.data.scan import list_folder
from convsmith.errors import ConvsmithError
from convsmith.models.published import weights
from convsmith.recipe.load import load_recipe
from convsmith.recipe.mask_data import Masks
from convsmith.recipe.schema import Data

SMALL_SIDE = 40  # pixels; enlarging such images to 224 shows a network nothing new
FEW_IMAGES = 5000  # below, features learned elsewhere are worth more than 60 epochs from scratch
IMBALANCE = 10
SAMPLE = 200
LARGEST_CROP, SMALLEST_CROP, CROP_STEP = 512, 64, 32  # pixels of a training image for segmentation

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
    """Choose by the task, the number of training images, their size and the balance of the classes.

    Folders `images` and `masks` are for segmentation, any others for classification. Sizes are those of at most
    `SAMPLE` images, evenly spread over the training images. Pretrained weights that the choice would need are
    downloaded first; where they cannot be had, it is another one.

    Raises:
        ConvsmithError: it is no folder of images to learn from, or no image of the sample can be read.
    """
    if _has_masks(data):
        return _choose_for_masks(data)
    folder = open_image_folder(data, Data().val_fraction)
    total, side = len(folder.train), float(np.median(_sizes(folder.root, folder.train).min(axis=1)))
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
    elif total < FEW_IMAGES and (missing := _why_no_pretrained_weights("finetune-small")) is None:
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


def _choose_for_masks(data: Path) -> Choice:
    recipe = "hrnet_w18_seg-folder"
    folder = open_mask_folder(data, Masks(), Data().val_fraction)
    total, size = len(folder.train), np.median(_sizes(folder.root, folder.train), axis=0)
    crop = [min(LARGEST_CROP, max(SMALLEST_CROP, int(side) // CROP_STEP * CROP_STEP)) for side in size]
    height, width = crop
    reasons = [
        f"{total:,} training images with masks of {len(folder.classes)} classes: segmentation",
        f"they have {size[1]:g} x {size[0]:g} pixels, the median of {min(total, SAMPLE)} images: "
        f"it learns from crops of {width} x {height}",
    ]
    overrides = [f"augment.random_scale_crop.size=[{height}, {width}]"]
    if (missing := _why_no_pretrained_weights(recipe)) is None:
        reasons.append("the network knows ImageNet, which helps with any number of images")
    else:
        overrides.append("model.weights=null")
        reasons.append(f"from scratch: no pretrained weights, {missing}")
    reasons.append("every other image is mirrored; where that changes the meaning, add augment.hflip=0")
    return Choice(recipe, tuple(overrides), tuple(reasons))


def _why_no_pretrained_weights(recipe: str) -> str | None:
    """None once the weights of a recipe are on this machine."""
    name = load_recipe(recipe).model.weights
    assert name is not None
    try:
        weights(name).download()
    except ConvsmithError as error:
        return f"{error.what} ({error.why})"
    return None


def _sizes(root: Path, samples: Samples) -> NDArray[np.int64]:
    """Height and width in pixels, [N, 2], by the headers of the sample."""
    sizes, errors = [], []
    for i in np.linspace(0, len(samples) - 1, min(len(samples), SAMPLE)).round().astype(int):
        try:
            width, height = check_header(samples.files(i)[0])
            sizes.append((height, width))
        except ImageError as error:  # training names each bad file
            errors.append(error)
    if not sizes:
        first = errors[0]
        raise ConvsmithError(
            f"none of {len(errors)} images in {printable(root)} can be read",
            f"{printable(first.what)}: {first.why}",
            first.fix or "Name a recipe and the folder with --data to see what is wrong with each.",
        )
    return np.array(sizes)


def _has_masks(data: Path) -> bool:
    """Whether a folder holds `images` and `masks`.

    Raises:
        ConvsmithError: it has such folders under other names, or inside `train`: they would pass for two classes.
    """
    for directory in (data, data / "train"):
        names = list_folder(directory).folders if directory.is_dir() else []
        masks = [name for name in names if name.casefold() in _MASK_FOLDERS]
        if not masks or not any(name.casefold() in _IMAGE_FOLDERS for name in names):
            continue
        if directory == data and {"images", "masks"} <= set(names):
            return True
        raise ConvsmithError(
            f"{printable(directory)} looks like data for segmentation: it has {quoted(masks)} beside images",
            "without a recipe they lie in images/train, masks/train, images/val and masks/val of the data folder",
            "Arrange them so, or name a recipe and set data.masks.layout. If these are classes, name a recipe too.",
        )
    return False
