"""Which packaged recipe suits a folder of images, by plain rules, and why."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.decode import ImageError
from convsmith.bundle.task import find_task
from convsmith.data.dataset import Samples
from convsmith.data.mask_search import find_masks, masks_as_classes, named_pairs
from convsmith.data.open_data import open_data
from convsmith.data.scan import images_below, list_folder
from convsmith.data.source import task_of
from convsmith.errors import ConvsmithError, printable, quoted
from convsmith.models.registry import named_weights
from convsmith.models.weights.published import weights
from convsmith.recipe.load import load_recipe
from convsmith.recipe.schema import Data

SMALL_SIDE = 40  # pixels; enlarging such images to 224 shows a network nothing new
FEW_IMAGES = 5000  # below, features learned elsewhere are worth more than 60 epochs from scratch
VERY_FEW_IMAGES = 1000  # below, 60 epochs of batches of 64 are fewer than a thousand steps
IMBALANCE = 10
SAMPLE = 200
LARGEST_CROP, SMALLEST_CROP, CROP_STEP = 512, 64, 32  # pixels of a training image for segmentation

FASTER = {"hrnet_w18_seg-folder": "resnet18_fcn-folder"}
"""For a recipe that is chosen, one that learns faster and less."""


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


def choose_recipe(data: Path, overrides: Sequence[str] = ()) -> Choice:
    """Choose by the task, the number of training images, their size and the balance of the classes.

    Folders of images and of masks of the same names and sizes are for segmentation, any others for classification.
    Sizes are those of at most `SAMPLE` images, evenly spread over the training images. Pretrained weights that the
    choice would need are downloaded first; where they cannot be had, it is another one.

    Args:
        data: the folder.
        overrides: what will be changed besides, of which `data` counts here.

    Raises:
        ConvsmithError: it is not a folder of images to learn from, or no image of the sample can be read.
    """
    words = masks_of(data, overrides)
    if words is not None:
        return _choose_for_masks(data, words, overrides)
    folder = open_data("classification", Data(), data)
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
            overrides += _smaller_batches(total)
            reasons.append("so in smaller batches, for enough steps, at the rate that belongs to them")
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


def _smaller_batches(total: int) -> list[str]:
    """Changes to `resnet18-folder`, whose rate goes with its batch, so that few images give enough steps."""
    if total < VERY_FEW_IMAGES:
        return ["batch.size=16", "optimizer.lr=0.0125", "schedule.epochs=120"]
    return ["batch.size=32", "optimizer.lr=0.025"]


def _choose_for_masks(data: Path, words: Sequence[str], others: Sequence[str]) -> Choice:
    recipe = "hrnet_w18_seg-folder"
    section = load_recipe(recipe, [*words, *(word for word in others if word.startswith("data."))]).data
    try:
        folder = open_data("segmentation", section, data)
    except ConvsmithError as error:
        if not words:
            raise
        taken = f"Taken for images and masks: {shlex.join(words)}; for classes, set model.num_classes."
        raise ConvsmithError(error.what, error.why, f"{error.fix} {taken}") from error
    total, size = len(folder.train), np.median(_sizes(folder.root, folder.train), axis=0)
    crop = [min(LARGEST_CROP, max(SMALLEST_CROP, int(side) // CROP_STEP * CROP_STEP)) for side in size]
    height, width = crop
    reasons = [
        f"{total:,} training images with masks of {len(folder.classes)} classes: segmentation",
        f"they have {size[1]:g} x {size[0]:g} pixels, the median of {min(total, SAMPLE)} images: "
        f"it learns from crops of {width} x {height}",
    ]
    overrides = [*words, f"augment.random_scale_crop.size=[{height}, {width}]"]
    if (missing := _why_no_pretrained_weights(recipe)) is None:
        reasons.append("the network knows ImageNet, which helps with any number of images")
    else:
        overrides.append("model.weights=null")
        reasons.append(f"from scratch: no pretrained weights, {missing}")
    reasons.append("every other image is mirrored; where that changes the meaning, add augment.hflip=0")
    return Choice(recipe, tuple(overrides), tuple(reasons))


def weights_here(recipe: str) -> list[str]:
    """Words that leave out the weights of a recipe where they are neither here nor to be downloaded."""
    return [] if _why_no_pretrained_weights(recipe) is None else ["model.weights=null"]


def _why_no_pretrained_weights(recipe: str) -> str | None:
    """None once the weights of a recipe are on this machine."""
    section = load_recipe(recipe).model
    assert section.weights is not None
    name = named_weights(section.weights, section.name)
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
            width, height = samples.contents(i)[0].check_header()
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


def masks_of(data: Path, overrides: Sequence[str]) -> list[str] | None:
    """Overrides that describe a folder's masks, as `key=value` words; None where it holds none.

    Raises:
        ConvsmithError: there may be masks, but it is not certain where.
    """
    if any(word.startswith(("data.masks.images=", "data.masks.masks=", "data.masks.layout=")) for word in overrides):
        return []
    if (task := task_of(data)) is not None:
        return [] if find_task(task).own_classes else None  # targets that hold classes are masks
    if any(word.startswith("model.num_classes=") for word in overrides):  # classes, as `masks_as_classes` advises
        return None
    found = find_masks(data)
    if len(found) > 1:
        keys = "".join(f"\n  {shlex.join(one.overrides)}" for one in found)
        raise ConvsmithError(
            f"{printable(data)} has several folders that may hold the masks",
            f"each of these would do:{keys}",
            "Add the keys of one to the command.",
        )
    if found and not found[0].named:
        raise masks_as_classes(data, found[0])
    if found:
        return list(found[0].overrides)
    for directory in (data, data / "train"):
        names = list_folder(directory).folders if directory.is_dir() else []
        if directory == data and {"images", "masks"} <= set(names):
            return []
        named = {mask for _, mask in named_pairs(names)}
        if masks := sorted(mask for mask in named if images_below(directory, mask, Counter())):  # else boxes, say
            raise ConvsmithError(
                f"{printable(directory)} looks like data for segmentation: it has {quoted(masks)} beside images",
                "but the files there are not images and their masks, of the same names and sizes and of few values",
                "Say where they are with data.masks.images and data.masks.masks, or with data.masks.layout. If these "
                "are classes, name a recipe.",
            )
    return None
