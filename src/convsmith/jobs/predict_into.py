"""Answers to any number of images in one file, which a process that is killed goes on with. Needs no torch."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from convsmith.allocation import keep_freed_memory
from convsmith.bundle.predictor import Bundle, load
from convsmith.data.folders.image_list import ImageList, list_images
from convsmith.errors import counted
from convsmith.jobs.answered import Answering, facts_of
from convsmith.jobs.part_folder import parts_for
from convsmith.jobs.ray_workers import Cluster, ray_workers
from convsmith.progress import ProgressCallback, no_progress, notebook_progress
from convsmith.recipe.data import data_section

logger = logging.getLogger(__name__)

_VERSION = 1


@dataclass(frozen=True)
class Predicted:
    """How many images have rows in a file.

    Attributes:
        images: all of them.
        bad: those with an error in place of an answer.
    """

    images: int
    bad: int


def predict_into(
    bundle: str | Path | Bundle[Any],
    images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    out: str | Path,
    *,
    top: int | None = None,
    batch_size: int = 32,
    threads: int | None = None,
    runtime: str | None = None,
    device: str = "auto",
    ray: str | None = None,
    progress: ProgressCallback = notebook_progress,
) -> Predicted:
    """Answer any number of images with a bundle, and write a row for each into a file; see `write_predictions`.

    Args:
        bundle: the bundle's folder, the run directory that it is in, or one that is loaded.
        images: paths of images, folders, patterns, tables and tar shards, one or several.
        out: the file: .csv and .parquet have the columns `path`, those of `Predictions.records` and `error`; .jsonl has
            an object for each image. What was there is replaced when all rows are written.
        top: how many classes of each image are listed; None: one of a classifier, all of a mask.
        batch_size: images of a classifier in one forward pass.
        threads: as `load` takes them.
        runtime: likewise.
        device: likewise.
        ray: the address of a Ray cluster whose machines answer the images; of those all have the bundle's folder and
            the images by the same paths. `auto` is the cluster that this machine is a part of.
        progress: called with how many images have rows, of how many.

    Raises:
        ConvsmithError: the bundle cannot be used, a path gives no image, or the file has another ending, cannot be
            written, was begun with another bundle, option or list of images, or another process writes it.

    Examples:
        >>> cs.predict_into("runs/photos", "photos/val", "answers.csv")
        Predicted(images=12, bad=0)
    """
    keep_freed_memory()
    model = bundle if isinstance(bundle, Bundle) else load(bundle, threads, runtime, device)
    listed = list_images(images, data_section(model.manifest.recipe))
    cluster = None if ray is None else Cluster(ray, runtime, device)
    return write_predictions(
        model, listed, Path(out), top=top, batch_size=batch_size, cluster=cluster, progress=progress
    )


def write_predictions(
    model: Bundle[Any],
    images: ImageList,
    out: Path,
    *,
    top: int | None = None,
    batch_size: int = 32,
    cluster: Cluster | None = None,
    progress: ProgressCallback = no_progress,
) -> Predicted:
    """Write a row for each image, or for each class that is listed of it, in the order of the images.

    A call that was ended in any way, even by SIGKILL, goes on where it was when it is made again: each image has its
    rows once, and they are those that a call without an end would have written. Until then they are in a folder beside
    the file, `NAME.parts`.

    Args:
        model: a loaded bundle.
        images: an image that cannot be read has its error in its row.
        out: the file: .csv and .parquet have the columns `path`, those of `Predictions.records` and `error`; .jsonl has
            an object for each image. What was there is replaced when all rows are written.
        top: how many classes of each image are listed; None: one of a classifier, all of a mask.
        batch_size: images of a classifier in one forward pass.
        cluster: where others answer; None: this process does.
        progress: called with how many images have rows, of how many.

    Raises:
        ConvsmithError: the file has another ending, cannot be written, was begun with another bundle, option or list of
            images, or another process writes it.
    """
    answering = Answering(out, model.manifest.checksum, top, batch_size)
    answering.rows(model)  # says before anything is started what cannot be written
    with ExitStack() as held:
        workers = held.enter_context(ray_workers(cluster, model.path, images, answering)) if cluster else None
        place = model.place if workers is None else workers.place
        facts = {
            "version": _VERSION,
            **facts_of(model, top, batch_size),
            "device": None if place is None else asdict(place),
            "images": len(images),
            "list of images": images.digest(),
        }
        parts = held.enter_context(parts_for(out, facts))
        first = parts.done
        if first:
            logger.info("going on behind %s of %d", counted(first, "image"), len(images))

        def tell(done: int) -> None:
            progress("predict", done, len(images))

        tell(first)
        if workers is None:
            answered = answering.answer(model, images.since(first), lambda number: tell(first + number))
        else:
            answered = workers.answer(first)
        for part in answered:
            parts.add(*part)
            tell(parts.done)
        parts.finish(answering.rows(model, place).join)
    return Predicted(parts.done, parts.bad)
