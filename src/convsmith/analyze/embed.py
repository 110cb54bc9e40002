"""Embeddings of images: the numbers that a classifier's last layer makes logits of."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from convsmith.analyze.numbered import said_of_each
from convsmith.bundle.format import MODEL, read_files
from convsmith.bundle.noting import Noting
from convsmith.bundle.predictor import Bundle
from convsmith.bundle.runtime import OnnxRuntime
from convsmith.data.dataset import Samples
from convsmith.deploy.judging import judge
from convsmith.deploy.labelled import LabelledImages
from convsmith.errors import ConvsmithError, require_extra
from convsmith.progress import ProgressCallback
from convsmith.randomness import Stream, counter_generator

_IN_ALL = 2**26  # numbers that are kept; of each image as many as that leaves, but within these two
_LEAST, _MOST = 128, 2048
_SUMS, _PLANES = 1, 2  # counters of what is random


def embed(
    bundle: Bundle, parts: Sequence[Samples], progress: ProgressCallback, until: float = math.inf
) -> NDArray[np.float16]:
    """The embeddings of all samples, each with the mean of all subtracted, float16 `[N, D]`.

    A sample that cannot be read gets 0, and so do those after the first of each part where the time of `until`, by
    `time.monotonic`, has come. Where there are many, D is smaller than what the network gives, at least 128:
    so many random sums of these numbers, which keep angles nearly as they are.

    Raises:
        ConvsmithError: as `embedding_bundle`.
    """
    bundle = embedding_bundle(bundle)
    found, first, turn = np.empty((0, 0), np.float16), 0, np.empty((0, 0), np.float32)
    total = sum(map(len, parts))
    most = min(max(_LEAST, _IN_ALL // max(1, total)), _MOST)
    for samples in parts:
        for number, flat in embedding_of_each(bundle, samples, progress):
            if not found.size:
                turn = _turn(len(flat), most)
                found = np.zeros((total, turn.shape[1]), np.float16)
            found[first + number] = flat @ turn
            if time.monotonic() > until:
                break
        first += len(samples)
    there = found.any(axis=1)
    if there.any():
        found[there] -= found[there].mean(axis=0, dtype=np.float64).astype(np.float16)
    return found


def sign_hashes(embeddings: NDArray[np.float16]) -> NDArray[np.uint64]:
    """A hash of 64 bits of each embedding `[N, D]`: on which side of 64 random planes it lies; 0 where it is 0."""
    planes = counter_generator(Stream.PROJECT, _PLANES).normal(size=(embeddings.shape[1], 64)).astype(np.float32)
    found = np.zeros(len(embeddings), np.uint64)
    for first in range(0, len(embeddings), 2**16):
        part = embeddings[first : first + 2**16].astype(np.float32)
        bits = np.packbits(part @ planes > 0, axis=1)
        found[first : first + len(part)] = bits.view(np.uint64).ravel() * part.any(axis=1)
    return found


def _turn(numbers: int, most: int) -> NDArray[np.float32]:
    """The matrix `[D, at most so many]` that embeddings are kept by."""
    if numbers <= most:
        return np.eye(numbers, dtype=np.float32)
    random = counter_generator(Stream.PROJECT, _SUMS)
    return random.normal(scale=most**-0.5, size=(numbers, most)).astype(np.float32)


def embedding_bundle(bundle: Bundle) -> Bundle:
    """The bundle itself where its model has the second output, or one whose model was given it.

    Raises:
        ConvsmithError: it is not a classifier in ONNX, or `onnx`, which finds its last layer, is not installed.
    """
    if bundle.manifest.embeddings is not None:
        return bundle
    if not bundle.task.one_size:
        raise _unfit(bundle, "it was packed without them, and it gives more than one answer to an image")
    files = read_files(bundle.path, bundle.manifest)
    if MODEL not in files:
        raise _unfit(bundle, f"its format is {bundle.manifest.format}")
    try:
        from convsmith.deploy.onnx_outputs import with_embeddings
    except ModuleNotFoundError as error:
        raise require_extra("onnx", "the embeddings of a bundle", "export") from error
    content = with_embeddings(files[MODEL])
    if content is None:
        raise _unfit(bundle, "its last layer is not a linear one")
    runtime, size = OnnxRuntime(content), bundle.manifest.only_size or (64, 64)
    black = np.zeros((1, bundle.manifest.preprocess.bands.channels, *size), np.uint8)
    length = runtime.run_with_embeddings(black)[1].shape[1]
    return Bundle(bundle.path, bundle.manifest.model_copy(update={"embeddings": length}), runtime)


def embedding_of_each(
    bundle: Bundle, samples: Samples, progress: ProgressCallback
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The number of each sample that can be read, and its embedding [D].

    Args:
        bundle: what `embedding_bundle` gave.
        samples: of data.
        progress: called with how many are done, of how many.
    """
    if bundle.task.one_size:
        yield from said_of_each(bundle, samples, progress, lambda images: bundle.logits_and_embeddings(images)[1])
        return
    noting, images = Noting(bundle.logits_and_embeddings), LabelledImages(bundle.manifest, samples)
    for heard in judge(bundle.manifest, [noting.infer], images, what="judge", progress=progress):
        rows = noting.taken(1)  # they come one by one
        for number in heard.numbers:
            yield number, rows[0]


def _unfit(bundle: Bundle, why: str) -> ConvsmithError:
    return ConvsmithError(
        f"{bundle.path} gives no embeddings",
        why,
        "Give a bundle that was trained with bundle.embeddings=true, or that of a classifier in the format ONNX.",
    )
