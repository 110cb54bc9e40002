"""Facts about a data set before a training: the same look that a training takes, and a closer one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from convsmith.analyze.choose_recipe import FROM_SCRATCH, recipe_for_data
from convsmith.analyze.contact_sheet import training_tiles
from convsmith.analyze.data_check import DataCheck
from convsmith.analyze.data_page import names_shown, page
from convsmith.analyze.data_pictures import thumbnails
from convsmith.analyze.embed import embed, sign_hashes
from convsmith.analyze.house_page import write_page
from convsmith.analyze.label_errors import judge_by_embeddings, judge_labels, learned_these_labels
from convsmith.analyze.published_bundle import bundle_or_published
from convsmith.data.checks.check import bad_files_of, joined, look, mark_too_large
from convsmith.data.checks.facts import split_facts, suspects
from convsmith.data.checks.look import Looks
from convsmith.data.checks.near import EMBEDDINGS, find_near
from convsmith.data.checks.near_copies import NearCopies, compared_images, name_near, name_outliers
from convsmith.data.dataset import DataSet, Findings, Split, num_samples, splits
from convsmith.data.loading.sampler import used_samples
from convsmith.data.memory.in_memory import InMemory, in_memory
from convsmith.data.open_data import data_of_recipe
from convsmith.errors import ConvsmithError
from convsmith.progress import ProgressCallback, notebook_progress
from convsmith.recipe.load import as_recipe
from convsmith.recipe.schema import Recipe


def check_data(
    data: Any,
    recipe: Recipe | str | Path | None = None,
    overrides: Sequence[str] = (),
    progress: ProgressCallback = notebook_progress,
    *,
    strict: bool = False,
    bundles: Sequence[str | Path] = (),
    embeddings: str | Path | None = None,
    html: str | Path | None = None,
) -> DataCheck:
    """Look at every sample as a training of the recipe does before its first step.

    Args:
        data: the folder, or what else `train` takes, or images that Python holds.
        recipe: says what the data are for, and how they are read: a recipe, or the name or path of one; None: one for
            such data, of images that Python holds one for classes.
        overrides: changes to the recipe.
        progress: called with how many samples are done, of how many.
        bundles: bundles or runs that judge the labels of images that they have not learned from.
        embeddings: the bundle or run of a classifier by which images are compared too, or the name of a published one
            such as `resnet50` or `timm/resnet18`.
        html: a file to write a page with pictures to.
        strict: images that are in training and validation, or in two classes, make the data unusable.

    Raises:
        ConvsmithError: the folder cannot be opened as such data.

    Examples:
        >>> found = cs.check_data("photos/")
        >>> found.classes, found.samples, found.usable
        (('blue', 'green', 'red'), {'train': 18, 'val': 12}, True)
    """
    held = in_memory(data)
    if held is None:
        checked = recipe_for_data(Path(data), recipe, overrides)
    else:
        _refuse_bundles_for(held, bundles)
        checked = as_recipe(recipe or FROM_SCRATCH, overrides)
    dataset = data_of_recipe(checked, held or Path(data))
    parts, looks = splits(dataset), _looked_at(dataset, checked, progress)
    bad = [file for split, samples in parts.items() for file in bad_files_of(samples, looks[split])]
    told = Findings([], [])
    problem = None
    try:
        told = dataset.findings(looks, used_samples(checked.sampling, dataset.train.targets, checked.seed))
    except ConvsmithError as error:
        problem = str(error)
    label_errors = None
    if bundles:
        label_errors, judging = judge_labels(
            checked.task, dataset, Path(data), [Path(bundle) for bundle in bundles], progress
        )
        told = told._replace(notes=[*told.notes, *judging])
    facts, images = split_facts(dataset, looks), compared_images(dataset, looks)
    near, alike = name_near(dataset, find_near(images), "nearly the same as"), NearCopies((), ())
    if embeddings is not None:
        source = bundle_or_published(embeddings)
        made = embed(source, [dataset.train, dataset.val], progress)
        if (
            not bundles
            and source.manifest.task == checked.task
            and not (held is None and learned_these_labels(source, Path(data)))
        ):
            label_errors = judge_by_embeddings(dataset, made)
        images = replace(images, hashes=sign_hashes(made), features=made, mirrored=np.empty(0, np.uint64))
        alike = name_near(dataset, find_near(images, EMBEDDINGS), "alike by embedding to")
    by = "colours" if embeddings is None else "embedding"
    of_class = " of the class" if dataset.counted == "images" else ""
    found = DataCheck(
        classes=dataset.classes,
        samples={split: len(samples) for split, samples in parts.items()},
        sizes={split: it.sizes and (it.sizes.smallest, it.sizes.largest) for split, it in facts.items()},
        bad=tuple(bad),
        notes=(*dataset.notes, *told.notes),
        warnings=tuple(told.warnings),
        copies=(*told.copies, *near.copies),
        repeated=near.repeated,
        alike=(*alike.copies, *alike.repeated),
        outliers=name_outliers(dataset, images, f"far from all others{of_class} by {by}"),
        suspicious=tuple(suspects(dataset, looks)),
        label_errors=label_errors,
        facts=facts,
        counted=dataset.counted,
        strict=strict,
        problem=problem,
    )
    if html is not None:
        _write_page(Path(html), f"The data of {held or data}", found, dataset, checked)
    return found


def _refuse_bundles_for(held: InMemory, bundles: Sequence[str | Path]) -> None:
    """Raise a ConvsmithError if bundles are to judge labels of images in memory."""
    if bundles:
        raise ConvsmithError(
            f"bundles cannot judge the labels of {held}",
            "they know the images that they have learned from by their files",
            "Give `embeddings` of a network that has not learned from them, or write the images into a folder.",
        )


def _looked_at(dataset: DataSet, recipe: Recipe, progress: ProgressCallback) -> dict[Split, Looks]:
    """A look at every sample of each split; what is the same file is looked at once."""
    looks: dict[Split, Looks] = {}
    for split, samples in splits(dataset).items():
        seen = sum(len(part.rows) for part in looks.values())

        def tell(what: str, done: int, _: int | None, seen: int = seen) -> None:
            progress(what, seen + done, num_samples(dataset))

        known = joined(*looks.values())
        looks[split] = look(samples, True, known, with_prints=True, bands=recipe.bands, progress=tell)
    mark_too_large(dataset, recipe.preprocess, looks["val"])
    return looks


def _write_page(out: Path, title: str, found: DataCheck, dataset: DataSet, recipe: Recipe) -> None:
    try:
        tiles = training_tiles(dataset, recipe)
    except ModuleNotFoundError:  # training images are augmented by torch
        tiles = []
    except ConvsmithError:  # the findings say what is wrong with them
        tiles = []
    write_page(out, page(title, found, thumbnails(dataset, names_shown(found), recipe.bands), tiles))
