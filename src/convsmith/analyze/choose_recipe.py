"""Which packaged recipe suits a folder of images, by plain rules, and why."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convsmith.analyze.choice import Choice
from convsmith.analyze.pick_recipe import pick_recipe
from convsmith.analyze.recipe_table import PHOTOS, SCENES, SMALL_PHOTOS, SMALL_SIDE
from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.task import find_task
from convsmith.data.dataset import Samples
from convsmith.data.folders.scan import images_below, list_folder
from convsmith.data.masks.mask_search import find_masks, masks_as_classes, named_pairs
from convsmith.data.open_data import open_data
from convsmith.data.source import task_of
from convsmith.errors import ConvsmithError, printable, quoted
from convsmith.recipe.channels import colour_steps
from convsmith.recipe.data import Data
from convsmith.recipe.load import as_recipe, load_recipe
from convsmith.recipe.schema import Recipe
from convsmith.recipe.task_fit import rules_of
from convsmith.spec import Bands

FROM_SCRATCH = "resnet18-folder"
IMBALANCE = 10
SAMPLE = 200
_WHERE = {f"data.masks.{key}" for key in ("images", "masks", "layout", "images_dir", "masks_dir", "mask_suffix")}
LARGEST_CROP, SMALLEST_CROP, CROP_STEP = 512, 64, 32  # pixels of a training image for segmentation


def choose_recipe(data: Path, overrides: Sequence[str] = ()) -> Choice:
    """Choose by the task, the number of training images, their size, the balance of the classes and the device.

    Folders of images and of masks of the same names and sizes are for segmentation, any others for classification,
    unless the data say otherwise themselves, as a table with several labels in a row does.
    Sizes are those of at most `SAMPLE` images, evenly spread over the training images. The recipes are those of
    `recipe_table`: they start from pretrained weights, which are downloaded first. Where these cannot be had, it is
    another one.

    Args:
        data: the folder.
        overrides: what will be changed besides, of which `data` and `model` count here.

    Raises:
        ConvsmithError: it is not a folder of images to learn from, or no image of the sample can be read.
    """
    words = masks_of(data, overrides)
    if words is not None:
        return _choose_for_masks(data, words, overrides)
    task, bands = _task_without_masks(data), _bands(overrides)
    folder, rules = open_data(task, Data(channels=bands.channels), data), rules_of(task)
    total, side = len(folder.train), float(np.median(_sizes(folder.root, folder.train, bands).min(axis=1)))
    counts = folder.count_classes(np.arange(total))
    most, fewest = int(counts.max()), int(counts.min())
    reasons = [
        f"{total:,} training images in {len(folder.classes)} classes of {fewest:,} to {most:,}",
        f"their shorter side has {side:g} pixels, the median of {min(total, SAMPLE)} images",
    ]
    if side <= SMALL_SIDE:
        reasons.append(f"at most {SMALL_SIDE} pixels: a network for images as small as CIFAR's")
    picked = pick_recipe(SMALL_PHOTOS if side <= SMALL_SIDE else PHOTOS, total, overrides)
    recipe, words = rules.RECIPES.get(picked.recipe, picked.recipe), list(picked.overrides)
    reasons += picked.reasons
    if load_recipe(recipe).task != task:
        words.append(f"task={task}")
    if most >= IMBALANCE * fewest:
        ratio, remedy = f"{most / fewest:.0f} times the images of the smallest", rules.UNEVEN
        reasons.append(f"the largest class has {ratio}: {remedy.words}")
        words += [] if recipe in remedy.recipes else remedy.changes
        recipe = remedy.recipes.get(recipe, recipe)
    words += _without_colours(recipe, words, bands.channels)
    reasons.append("every other image is mirrored; where that changes the meaning, add augment.hflip=0")
    return Choice(recipe, tuple(words), tuple(reasons))


def _choose_for_masks(data: Path, words: Sequence[str], others: Sequence[str]) -> Choice:
    usual, bands = "hrnet_w18_seg-folder", _bands(others)
    said = [word for word in others if word.startswith("data.")]
    section = load_recipe(usual, [*_without_colours(usual, (), bands.channels), *words, *said]).data
    try:
        folder = open_data("segmentation", section, data)
    except ConvsmithError as error:
        if not words:
            raise
        taken = f"Taken for images and masks: {shlex.join(words)}; for classes, set model.num_classes."
        raise ConvsmithError(error.what, error.why, f"{error.fix} {taken}") from error
    total, size = len(folder.train), np.median(_sizes(folder.root, folder.train, bands), axis=0)
    crop = [min(LARGEST_CROP, max(SMALLEST_CROP, int(side) // CROP_STEP * CROP_STEP)) for side in size]
    height, width = crop
    reasons = [
        f"{total:,} training images with masks of {len(folder.classes)} classes: segmentation",
        f"they have {size[1]:g} x {size[0]:g} pixels, the median of {min(total, SAMPLE)} images: "
        f"it learns from crops of {width} x {height}",
    ]
    picked = pick_recipe(SCENES, total, others)
    reasons += picked.reasons
    crop_words = (f"augment.random_scale_crop.size=[{height}, {width}]", *picked.overrides)
    overrides = (*words, *crop_words, *_without_colours(picked.recipe, crop_words, bands.channels))
    reasons.append("every other image is mirrored; where that changes the meaning, add augment.hflip=0")
    return Choice(picked.recipe, overrides, tuple(reasons))


def _bands(overrides: Sequence[str]) -> Bands:
    """The pixels that are to be read of an image file, as the user's words say."""
    words = [word for word in overrides if word.partition("=")[0] in ("data.channels", "preprocess.range")]
    return load_recipe(FROM_SCRATCH, words).bands


def _without_colours(recipe: str, words: Sequence[str], channels: int) -> list[str]:
    """Words that leave out the steps of a recipe's augmentation that cannot be had with so many channels."""
    steps = colour_steps(load_recipe(recipe, words).augment, channels)
    return [word for remedy in steps.values() for word in remedy.split()]


def _sizes(root: Path, samples: Samples, bands: Bands) -> NDArray[np.int64]:
    """Height and width in pixels, [N, 2], by the headers of the sample."""
    sizes, errors = [], []
    for i in np.linspace(0, len(samples) - 1, min(len(samples), SAMPLE)).round().astype(int):
        try:
            width, height = samples.contents(i)[0].check_header(bands)
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


def _task_without_masks(data: Path) -> str:
    """The task that data say themselves that they are for, or else the usual one."""
    usual: str = Recipe.model_fields["task"].default
    return task_of(data) or usual


def masks_of(data: Path, overrides: Sequence[str]) -> list[str] | None:
    """Overrides that describe a folder's masks, as `key=value` words; None where it holds none.

    Raises:
        ConvsmithError: there may be masks, but it is not certain where.
    """
    if any(word.partition("=")[0] in _WHERE for word in overrides):
        return []
    if (task := task_of(data)) is not None:
        return [] if find_task(task).pictures else None  # answers that are drawn are masks
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


def recipe_for_data(data: Path, recipe: Recipe | str | Path | None, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe by which data are read: the one that is named, or one for such data; with changes."""
    if recipe is not None:
        return as_recipe(recipe, overrides)
    of_masks, channels = masks_of(data, overrides), _bands(overrides).channels
    if of_masks is None:
        return as_recipe(rules_of(_task_without_masks(data)).RECIPES.get(FROM_SCRATCH, FROM_SCRATCH), overrides)
    usual = "hrnet_w18_seg-folder"
    return as_recipe(usual, [*_without_colours(usual, (), channels), *of_masks, *overrides])
