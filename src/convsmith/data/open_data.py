"""The ways to data: what a recipe or a bundle says of them, and where they lie."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.format import Manifest
from convsmith.bundle.images.limits import MAX_PIXELS_VARIABLE
from convsmith.data.dataset import DataSet, Samples
from convsmith.data.digest import has_names_of
from convsmith.data.memory.in_memory import InMemory, open_in_memory
from convsmith.data.parts import Part
from convsmith.data.source import SPECIAL_KEYS, find_opener
from convsmith.data.split import Share
from convsmith.data.weights import check_weights
from convsmith.errors import ConvsmithError
from convsmith.recipe.data import Data, data_section
from convsmith.recipe.schema import Recipe
from convsmith.waiting import READ_TIMEOUT_VARIABLE

logger = logging.getLogger(__name__)


def open_data(task: str, section: Data, root: Path, *, hold_out: bool = True) -> DataSet:
    """The splits of the data at a path, by the source that recognises it.

    Args:
        task: the name of the task that the data are for.
        section: a recipe's `data`.
        root: where they are.
        hold_out: hold a share of `train` out where there are no validation data.

    Raises:
        ConvsmithError: there are no such data, or they are not what the section says.
    """
    opener = find_opener(task, root)
    _refuse_keys(section, opener.keys, root)
    return _split(lambda share: opener.open(root, section, share), section, hold_out)


def _refuse_keys(section: Data, known: Sequence[str], where: object) -> None:
    """Raise a ConvsmithError for keys that say nothing of such data."""
    for key in SPECIAL_KEYS:
        if key not in known and getattr(section, key) is not None:
            raise ConvsmithError(
                f"data.{key} says nothing of {where}", "it is for other kinds of data", "Leave it out."
            )


def _split(opened: Callable[[Share | None], DataSet], section: Data, hold_out: bool) -> DataSet:
    """The data set that is opened with what the section holds out."""
    if not hold_out:
        return opened(None)
    if section.folds is None or section.fold is None:
        if section.folds is not None:
            raise ConvsmithError(
                f"data.folds is {section.folds}, but no fold is named",
                "a training holds one out; `convsmith ablate` trains each of them",
                f"Add data.fold=0, or another up to {section.folds - 1}.",
            )
        return opened(Share(section.val_fraction))
    if len(opened(None).val):
        raise ConvsmithError(
            f"data.fold is {section.fold}, but the data have images for validation of their own",
            "folds are made of images to train on where there are no others",
            "Leave data.fold and data.folds out, or those images.",
        )
    return opened(Share(section.val_fraction, section.fold, section.folds))


def data_of_recipe(recipe: Recipe, root: Path | InMemory) -> DataSet:
    """The data at a path, or in memory, as a training of the recipe splits them.

    Where the recipe says how many pixels an image may have, or how long a file is waited for, that holds for this
    process and its workers from now on.

    Raises:
        ConvsmithError: there are no such data, or they are not what the recipe says.
    """
    if recipe.data.max_pixels is not None:
        os.environ[MAX_PIXELS_VARIABLE] = str(recipe.data.max_pixels)
    if recipe.data.read_timeout is not None:
        os.environ[READ_TIMEOUT_VARIABLE] = str(recipe.data.read_timeout)
    dataset = _of_recipe(recipe, root)
    check_weights(recipe, dataset.train)
    return dataset


def _of_recipe(recipe: Recipe, root: Path | InMemory) -> DataSet:
    if isinstance(root, InMemory):
        _refuse_keys(recipe.data, (), root)
        return _split(lambda share: open_in_memory(recipe.task, root, recipe.data, share), recipe.data, recipe.eval)
    if recipe.model.num_classes is None:  # who says how many classes there are has looked at the data
        find_opener(recipe.task, root).doubt(root)
    return open_data(recipe.task, recipe.data, root, hold_out=recipe.eval)


def data_of_bundle(manifest: Manifest, root: Path, *, hold_out: bool | None = None) -> DataSet:
    """The data at a path as the training of a bundle splits them; `has_names_of` tells whether they are its own.

    Args:
        manifest: of the bundle.
        root: where they are.
        hold_out: see `open_data`; None: as the bundle's recipe says.

    Raises:
        ConvsmithError: there are no such data, or they are not what the bundle's recipe says.
    """
    if hold_out is None:
        hold_out = manifest.recipe.get("eval") is not False
    return open_data(manifest.task, data_section(manifest.recipe) or _default(), root, hold_out=hold_out)


@dataclass(frozen=True)
class LabelledPart:
    """Samples that judge a bundle.

    Attributes:
        samples: the samples.
        held_out: whether its training held them out.
        is_part: whether they are a part of the data for validation or test, and not all that has labels.
    """

    samples: Samples
    held_out: bool
    is_part: bool

    def select(self, numbers: NDArray[np.int64]) -> LabelledPart:
        """The samples of these numbers, in this order."""
        return replace(self, samples=self.samples.select(numbers))


def judged_by(manifest: Manifest, root: Path, part: Part | None = None) -> LabelledPart:
    """Open the samples that judge a bundle.

    For the data that it was trained on these are the validation samples; for others, see `Opener.labelled`.

    Args:
        manifest: of the bundle.
        root: where the data are.
        part: of the data, in place of the one for validation.

    Raises:
        ConvsmithError: the data cannot be used, or have classes that are not the bundle's.
    """
    is_own = False
    if manifest.data_digest is not None:
        with suppress(ConvsmithError):  # what cannot be trained on is not what it was trained on; it may do to judge by
            dataset = data_of_bundle(manifest, root)
            is_own = has_names_of(dataset, manifest.data_digest)
            if is_own and part != "test" and len(samples := dataset.train if part == "train" else dataset.val):
                return LabelledPart(samples, held_out=part != "train", is_part=True)
    opener = find_opener(manifest.task, root)
    samples, is_part = opener.labelled(root, data_section(manifest.recipe) or Data(), manifest.labels, part)
    return LabelledPart(samples, held_out=is_own and part == "test", is_part=is_part)


def _default() -> Data:
    """How data are read where a bundle does not say it, or not as this convsmith reads it."""
    logger.warning(
        "the bundle's recipe does not say how its data were split, or not as this convsmith reads it: they are split "
        "by default, so training and validation images may be others than in its training"
    )
    return Data()
