"""Answers to any number of images in one file, which a process that is killed goes on with. Needs no torch."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.predictor import Bundle, load
from convsmith.data.folders.image_list import ImageList, list_images
from convsmith.errors import ConvsmithError, counted, quoted
from convsmith.jobs.part_folder import parts_for
from convsmith.jobs.predict import answers_to
from convsmith.jobs.prediction_rows import ENDINGS, row_format
from convsmith.progress import ProgressCallback, no_progress, notebook_progress
from convsmith.recipe.data import data_section

logger = logging.getLogger(__name__)

_IMAGES = 4096  # of a part at most
_SECONDS = 30.0  # of work that a part holds, and so of what a kill costs
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
    progress: ProgressCallback = notebook_progress,
) -> Predicted:
    """Answer any number of images with a bundle, and write a row for each into a file; see `write_predictions`.

    Args:
        bundle: the bundle's folder, the run directory that it is in, or one that is loaded.
        images: paths of images, folders, patterns, tables and tar shards, one or several.
        out, top, batch_size, progress: as `write_predictions` takes them.
        threads, runtime, device: as `load` takes them.

    Raises:
        ConvsmithError: the bundle cannot be used, a path gives no image, or as `write_predictions`.
    """
    model = bundle if isinstance(bundle, Bundle) else load(bundle, threads, runtime, device)
    listed = list_images(images, data_section(model.manifest.recipe))
    return write_predictions(model, listed, Path(out), top=top, batch_size=batch_size, progress=progress)


def write_predictions(
    model: Bundle[Any],
    images: ImageList,
    out: Path,
    *,
    top: int | None = None,
    batch_size: int = 32,
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
        progress: called with how many images have rows, of how many.

    Raises:
        ConvsmithError: the file has another ending, cannot be written, was begun with another bundle, option or list of
            images, or another process writes it.
    """
    rows = row_format(out, model, top)
    if rows is None:
        raise ConvsmithError(f"{out} does not say what to write", f"rows go into {quoted(ENDINGS)}", "Name it so.")
    facts = {
        "version": _VERSION,
        "bundle": model.manifest.checksum,
        "preprocessing": model.manifest.preprocess.model_dump(mode="json"),
        "top": top,
        "images in a batch": batch_size,
        "device": None if model.place is None else asdict(model.place),
        "images": len(images),
        "list of images": images.digest(),
    }
    with parts_for(out, facts) as parts:
        if parts.done:
            logger.info("going on behind %s of %d", counted(parts.done, "image"), len(images))
        progress("predict", parts.done, len(images))
        packed: list[Any] = []
        first, bad, since = parts.done, 0, time.monotonic()
        for number, (name, answer, _) in enumerate(answers_to(model, images.since(first), batch_size), first + 1):
            packed += rows.rows(name, answer)
            bad += isinstance(answer, ImageError)
            progress("predict", number, len(images))
            is_late = number - parts.done >= _IMAGES or time.monotonic() - since > _SECONDS
            if number == len(images) or (is_late and number % batch_size == 0):  # the next ones make the same batches
                parts.add(rows.pack(packed), number - parts.done, bad)
                packed, bad, since = [], 0, time.monotonic()
        parts.finish(rows.join)
    return Predicted(parts.done, parts.bad)
