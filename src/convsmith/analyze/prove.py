"""Proof of an artefact: what it says of real images, beside what its original says. Needs no torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.decode import ImageError
from convsmith.bundle.format import Manifest
from convsmith.bundle.predictor import Bundle
from convsmith.bundle.runtime import Runtime
from convsmith.bundle.segment import allowed_sizes
from convsmith.bundle.segmentation import Segmentation
from convsmith.data.dataset import Samples
from convsmith.data.index import IndexBuilder
from convsmith.data.open_data import judged_by
from convsmith.data.scan import list_folder
from convsmith.deploy.labelled import metric_of, new_results
from convsmith.deploy.parity import Parity, Tolerance
from convsmith.spec import WholeImage

_BATCH = 8  # of a classifier; the logits of a mask are large

Progress = Callable[[int, int], None]


def prove(
    trained: Runtime,
    artefact: Runtime,
    manifest: Manifest,
    data: Path,
    tolerance: Tolerance,
    images: int,
    progress: Progress | None = None,
) -> dict[str, float]:
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
        What `Parity.figures` does; with labels also `top1` or `miou` of the artefact, and `trained_top1` or
        `trained_miou`.

    Raises:
        ConvsmithError: they are farther apart, or the data cannot be used.
    """
    runtimes = [_Listening(trained), _Listening(artefact)]
    bundles = [Bundle(Path(), manifest, runtime) for runtime in runtimes]
    samples, labelled = _samples(manifest, data)
    judges = [_Judge(bundle, labelled) for bundle in bundles]
    parity, read = Parity(), 0
    count = min(images, len(samples))
    numbers = [i * len(samples) // count for i in range(count)]
    batch = 1 if manifest.task == "segmentation" else _BATCH
    for start in range(0, count, batch):
        inputs, targets = _read(bundles[0], samples, numbers[start : start + batch])
        for judge, runtime in zip(judges, runtimes, strict=True):
            runtime.said.clear()
            if inputs:
                judge.answer(inputs, targets)
        for expected, given in zip(*(runtime.said for runtime in runtimes), strict=True):
            parity.add(expected, given)
        read += len(inputs)
        parity.images = read  # each may be looked at through many windows
        if progress:
            progress(min(start + batch, count), count)
    figures = parity.figures(tolerance)
    if labelled:
        metric = metric_of(manifest)
        for judge, prefix in zip(judges, ("trained_", ""), strict=True):
            figures[prefix + metric] = judge.results.compute()[metric]
    return figures


class _Listening:
    """A runtime that keeps what it said."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.said: list[NDArray[np.float32]] = []

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.said.append(self._runtime.run(images))
        return self.said[-1]


class _Judge:
    """Lets a bundle answer, and counts what is right."""

    def __init__(self, bundle: Bundle, labelled: bool) -> None:
        self._bundle, self._labelled = bundle, labelled
        self.results: Any = new_results(bundle.manifest)

    def answer(self, inputs: list[NDArray[np.uint8]], targets: list[Any]) -> None:
        if self._bundle.manifest.task == "classification":
            logits = self._bundle.logits(np.stack(inputs))
            if self._labelled:
                self.results.update(logits, np.array(targets))
            return
        for image, target in zip(inputs, targets, strict=True):
            answer = self._bundle.predict_preprocessed(image)
            assert isinstance(answer, Segmentation)
            if self._labelled:
                self.results.update(answer.mask, target)


def _samples(manifest: Manifest, data: Path) -> tuple[Samples, bool]:
    """What to look at, and whether it has labels: a folder that holds nothing but images has none."""
    listing = list_folder(data)
    if listing.images and not listing.folders:
        builder = IndexBuilder(data.absolute())
        builder.add(0, sorted(os.fsencode(name) for name in listing.images))
        return builder.build(), False
    return judged_by(manifest, data)[0], True


def _read(bundle: Bundle, samples: Samples, numbers: Sequence[int]) -> tuple[list[NDArray[np.uint8]], list[Any]]:
    """The bundle's inputs and their targets, but for files that cannot be read or are too large for the model."""
    inputs: list[NDArray[np.uint8]] = []
    targets: list[Any] = []
    spec = bundle.manifest.preprocess
    for i in numbers:
        try:
            picture, target = samples.read(i)
            image = bundle.preprocess(picture, samples.name(i))
            if isinstance(spec, WholeImage):
                allowed_sizes(image.shape[1:], spec, len(bundle.labels))
        except ImageError:  # `evaluate` names them
            continue
        inputs.append(image)
        targets.append(target)
    return inputs, targets
