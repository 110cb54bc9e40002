"""A bundle in memory: images in, classes out. Needs no torch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.classification import Classification
from convsmith.bundle.decode import ImageError
from convsmith.bundle.format import Manifest, read_manifest, read_model
from convsmith.bundle.preprocess import ImageSource, read_and_preprocess
from convsmith.bundle.runtime import OnnxRuntime, available_cores
from convsmith.errors import ConvsmithError

_MAX_DECODERS = 4


def load(path: str | Path, threads: int | None = None) -> Bundle:
    """Open a bundle, verify all of it and run it once.

    Args:
        path: the bundle's folder.
        threads: how many threads inference may use; None takes all cores of this process.

    Raises:
        ConvsmithError: not a bundle, a damaged one, one of a newer format, or a model that does not fit its manifest.
    """
    directory = Path(path)
    manifest = read_manifest(directory)
    return Bundle(directory, manifest, OnnxRuntime(read_model(directory, manifest), threads))


class Bundle:
    """A verified bundle, ready to predict; safe to use from several threads.

    Attributes:
        path: its folder.
        manifest: what `bundle.json` says.
        labels: name of each class, in the order of the logits.
    """

    def __init__(self, path: Path, manifest: Manifest, runtime: OnnxRuntime) -> None:
        self.path, self.manifest, self.labels = path, manifest, manifest.labels
        self._runtime = runtime
        side = manifest.preprocess.crop
        width = self.logits(np.zeros((1, 3, side, side), np.uint8)).shape[1:]
        if width != (len(self.labels),):
            raise ConvsmithError(
                f"the bundle {path} is damaged", f"its model gives {width} logits for {len(self.labels)} labels"
            )

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits [N, K] of preprocessed images [N, 3, crop, crop] in 0 to 255."""
        return self._runtime.run(images)

    def preprocess(self, image: ImageSource, name: str = "image") -> NDArray[np.uint8]:
        """The model's input [3, crop, crop] from an image of any kind that `predict` takes."""
        return read_and_preprocess(image, self.manifest.preprocess, name)

    def predict(self, image: ImageSource, name: str = "image") -> Classification:
        """Classify one image.

        Args:
            image: a path, the bytes of an image file, a Pillow image, or RGB pixels uint8 [H, W, 3].
            name: what an error calls an image that has no path.

        Raises:
            ImageError: it cannot be read.
        """
        return Classification(self.logits(self.preprocess(image, name)[None])[0], self.labels)

    def predict_many(
        self, images: Iterable[ImageSource], batch_size: int = 32
    ) -> Iterator[Classification | ImageError]:
        """Classify images in batches; yields one answer for each, in order, an `ImageError` for one that is bad.

        A few threads decode up to two batches ahead while the model runs, so memory does not grow with the number
        of images.
        """
        with ThreadPoolExecutor(min(_MAX_DECODERS, available_cores()), "decode") as pool:
            source = iter(images)
            ahead: deque[Future[NDArray[np.uint8] | ImageError]] = deque()
            try:
                while True:
                    ahead.extend(
                        pool.submit(self._prepare, image) for image in islice(source, 2 * batch_size - len(ahead))
                    )
                    if not ahead:
                        return
                    yield from self._classify([ahead.popleft().result() for _ in range(min(batch_size, len(ahead)))])
            finally:
                pool.shutdown(cancel_futures=True)

    def _prepare(self, image: ImageSource) -> NDArray[np.uint8] | ImageError:
        try:
            return self.preprocess(image)
        except ImageError as error:
            return error

    def _classify(self, inputs: list[NDArray[np.uint8] | ImageError]) -> Iterator[Classification | ImageError]:
        good = [image for image in inputs if not isinstance(image, ImageError)]
        logits = iter(self.logits(np.stack(good)) if good else ())
        for image in inputs:
            yield image if isinstance(image, ImageError) else Classification(next(logits), self.labels)

    def __repr__(self) -> str:
        return f"Bundle({str(self.path)!r}, model={self.manifest.model.get('name')!r}, {len(self.labels)} classes)"
