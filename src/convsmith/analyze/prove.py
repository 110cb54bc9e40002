"""Proof of an artefact: what it says of real images, beside what its original says. Needs no torch."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.format import Manifest
from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.predictor import Bundle
from convsmith.bundle.runtime import Runtime, run_with_embeddings
from convsmith.data.dataset import Samples
from convsmith.data.folders.scan import Listing, list_folder
from convsmith.data.index import IndexBuilder
from convsmith.data.open_data import judged_by
from convsmith.data.source import is_known
from convsmith.deploy.judging import judge
from convsmith.deploy.labelled import LabelledImages, metric_of
from convsmith.deploy.parity import Parity, Tolerance, embedding_figures
from convsmith.progress import ProgressCallback, no_progress

_BATCH = 8  # of a classifier; the logits of a mask are large


def prove(
    trained: Runtime,
    artefact: Runtime,
    manifest: Manifest,
    data: Path,
    *,
    tolerance: Tolerance,
    images: int,
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Let both answer the same images, as `predict` would.

    Args:
        trained: what the artefact was made of.
        artefact: the artefact in its own runtime.
        manifest: says what they do, and how images are looked at.
        data: what `evaluate` takes, or a folder of images without labels.
        tolerance: how far they may be apart.
        images: at most so many are taken, evenly of all.
        progress: called with how many images are done, of how many.

    Returns:
        What `Parity.figures` does; of `embeddings` too, where there are any; with labels also `top1` or `miou` of the
        artefact, and `trained_top1` or `trained_miou`.

    Raises:
        ConvsmithError: they are farther apart, or the data cannot be used.
    """
    has_embeddings = manifest.embeddings is not None
    listening = [_Listening(runtime, has_embeddings) for runtime in (trained, artefact)]
    bundles = [Bundle(Path(), manifest, runtime) for runtime in listening]
    samples, labelled = _samples(manifest, data)
    results = [bundle.task.new_results(manifest) for bundle in bundles]
    count = min(images, len(samples))
    chosen = LabelledImages(manifest, samples.select([i * len(samples) // count for i in range(count)]))
    parity, of_embeddings, read = Parity(bundles[0].task.exclusive), Parity(exclusive=False), 0
    for runtime in listening:
        runtime.forget()  # how each was tried
    for heard in judge(
        manifest, [bundle.logits for bundle in bundles], chosen, _BATCH, what="prove", progress=progress
    ):
        for expected, given in zip(*(runtime.said for runtime in listening), strict=not heard.unanswered):
            parity.add(expected, given)
        for expected, given in zip(*(runtime.embeddings for runtime in listening), strict=not heard.unanswered):
            of_embeddings.add(expected, given)
        for runtime in listening:
            runtime.forget()
        if heard.unanswered:
            parity.figures(tolerance)  # says first how far they are apart, if it is one of them that fails
            heard.require_answers()
        read += len(heard.targets)
        parity.images = of_embeddings.images = read  # each may be looked at through many windows
        if labelled and heard.targets:
            for counted, said in zip(results, heard.said, strict=True):
                counted.add(said, heard.targets)
    figures: dict[str, Any] = dict(parity.figures(tolerance))
    if has_embeddings:
        figures["embeddings"] = embedding_figures(of_embeddings, tolerance)
    if labelled:
        metric = metric_of(manifest)
        for counted, prefix in zip(results, ("trained_", ""), strict=True):
            figures[prefix + metric] = counted.compute()[metric]
    return figures


def image_files(manifest: Manifest, data: Path, count: int) -> list[bytes]:
    """The content of at most so many image files of the data that `prove` takes, evenly of all that can be read."""
    samples, _ = _samples(manifest, data)
    images = LabelledImages(manifest, samples)
    found: list[bytes] = []
    for i in range(len(samples)):
        if len(found) * len(samples) <= i * count:  # the next one is due
            with suppress(ImageError):
                images.read(i)
                found.append(samples.contents(i)[0].read())
    return found


class _Listening:
    """A runtime that keeps what it said."""

    def __init__(self, runtime: Runtime, has_embeddings: bool) -> None:
        self._runtime, self._has_embeddings = runtime, has_embeddings
        self.said: list[NDArray[np.float32]] = []
        self.embeddings: list[NDArray[np.float32]] = []

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self.run_with_embeddings(images)[0] if self._has_embeddings else self._said(self._runtime.run(images))

    def run_with_embeddings(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        logits, embeddings = run_with_embeddings(self._runtime, images)
        self.embeddings.append(embeddings)
        return self._said(logits), embeddings

    def forget(self) -> None:
        self.said.clear()
        self.embeddings.clear()

    def _said(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        self.said.append(logits)
        return logits


def _samples(manifest: Manifest, data: Path) -> tuple[Samples, bool]:
    """The samples to look at, and whether they have labels: a folder that holds nothing but images has none."""
    listing = Listing() if is_known(data) else list_folder(data)
    if listing.images and not listing.folders:
        builder = IndexBuilder(data.absolute())
        builder.add(0, sorted(os.fsencode(name) for name in listing.images))
        return builder.build(), False
    return judged_by(manifest, data).samples, True
