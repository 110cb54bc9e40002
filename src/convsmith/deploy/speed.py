"""How fast models run, one beside the other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.format import Manifest
from convsmith.bundle.runtime import OnnxRuntime, Runtime
from convsmith.deploy.labelled import LabelledImages
from convsmith.machine import available_cores
from convsmith.progress import ProgressCallback
from convsmith.spec import Size

BATCH = 8
_SECONDS = 1.0  # for each model and batch size, and no fewer than so many rounds:
_ROUNDS = 5


@dataclass(frozen=True)
class Speed:
    """Measurements of inference alone.

    Attributes:
        latency_ms: median time of one image.
        images_per_second: of batches of `BATCH`.
    """

    latency_ms: float
    images_per_second: float


def first_input(manifest: Manifest, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The first input that the model gets of an image [C, H, W]: all of it, or of a bundle for one size a window.

    Beyond the image's border it is black, as in `segment`.
    """
    if manifest.only_size is None:
        return image
    height, width = manifest.only_size
    window = np.zeros((len(image), height, width), np.uint8)
    part = image[:, :height, :width]
    window[:, : part.shape[1], : part.shape[2]] = part
    return window


@dataclass(frozen=True)
class Timed:
    """The speed of some models, and what it was measured with.

    Attributes:
        speeds: of each model.
        threads: of one call.
        size: height and width of the image.
    """

    speeds: dict[str, Speed]
    threads: int
    size: Size


def time_together(
    models: Mapping[str, bytes], manifest: Manifest, images: LabelledImages, progress: ProgressCallback
) -> Timed:
    """The speed of ONNX models on all cores, by the first of some images that can be read."""
    image, threads = first_input(manifest, next(iter(images))[0]), available_cores()
    progress("speed", 0, 1)
    speeds = measure_speed(models, image, threads)
    progress("speed", 1, 1)
    return Timed(speeds, threads, (image.shape[1], image.shape[2]))


def measure_speed(models: Mapping[str, bytes], image: NDArray[np.uint8], threads: int) -> dict[str, Speed]:
    """The speed of ONNX models that take turns, so that what else the machine does meets all of them.

    Args:
        models: ONNX files by name.
        image: what they are asked, uint8 [C, H, W].
        threads: of one call.
    """
    runtimes = {name: OnnxRuntime(content, threads) for name, content in models.items()}
    one, many = (median_seconds(runtimes, np.repeat(image[None], count, axis=0)) for count in (1, BATCH))
    return {name: Speed(1000 * one[name], BATCH / many[name]) for name in models}


def median_seconds(runtimes: Mapping[str, Runtime], images: NDArray[np.uint8]) -> dict[str, float]:
    """How long each takes for the images, asked in turn.

    Args:
        runtimes: by name.
        images: uint8 [N, C, H, W].
    """
    seconds: dict[str, list[float]] = {name: [] for name in runtimes}
    for runtime in runtimes.values():
        runtime.run(images)
    end = time.perf_counter() + _SECONDS * len(runtimes)
    rounds = 0
    while rounds < _ROUNDS or (rounds < 50 and time.perf_counter() < end):
        for name, runtime in runtimes.items():
            start = time.perf_counter()
            runtime.run(images)
            seconds[name].append(time.perf_counter() - start)
        rounds += 1
    return {name: statistics.median(values) for name, values in seconds.items()}
