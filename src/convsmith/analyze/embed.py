"""Embeddings of images: the numbers that a classifier's last layer makes logits of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.analyze.numbered import said_of_each
from convsmith.bundle.format import MODEL, read_files
from convsmith.bundle.predictor import Bundle
from convsmith.bundle.runtime import Infer, session_options
from convsmith.data.dataset import Samples
from convsmith.devices import ON_CPU
from convsmith.errors import ConvsmithError, require_extra
from convsmith.machine import available_cores
from convsmith.progress import ProgressCallback
from convsmith.randomness import Stream, counter_generator

_MOST = 128  # numbers that are kept of each image; of more, so many random sums, which keep angles nearly as they are
_SUMS, _PLANES = 1, 2  # counters of what is random
_LAYERS = ("Gemm", "MatMul")  # whose first input are features, and whose second one is constant
_SAME = ("Add", "Identity", "Reshape", "Flatten", "Cast", "QuantizeLinear", "DequantizeLinear")  # behind that layer


def embed(bundle: Bundle, parts: Sequence[Samples], progress: ProgressCallback) -> NDArray[np.float16]:
    """The embeddings of all samples, each with the mean of all subtracted, float16 `[N, D]`, D at most 128.

    They are the inputs of the last layer of an ONNX model, which the package `onnx` finds. A sample that cannot be read
    gets 0.

    Raises:
        ConvsmithError: the bundle is not of a classifier, or not an ONNX model; `onnx` is not installed.
    """
    if not bundle.task.new_results(bundle.manifest).one_answer_each or not bundle.task.one_size:
        raise _unfit(bundle, "it does not give one answer to an image")
    infer, found, first, turn = _features(bundle), np.empty((0, 0), np.float16), 0, np.empty((0, 0), np.float32)
    for samples in parts:
        for number, features in said_of_each(bundle, samples, progress, infer):
            flat = features.ravel()
            if not found.size:
                turn = _turn(len(flat))
                found = np.zeros((sum(map(len, parts)), turn.shape[1]), np.float16)
            found[first + number] = flat @ turn
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


def _turn(numbers: int) -> NDArray[np.float32]:
    """The matrix `[D, at most 128]` that embeddings are kept by."""
    if numbers <= _MOST:
        return np.eye(numbers, dtype=np.float32)
    random = counter_generator(Stream.PROJECT, _SUMS)
    return random.normal(scale=_MOST**-0.5, size=(numbers, _MOST)).astype(np.float32)


def _features(bundle: Bundle) -> Infer:
    """The model up to its last layer."""
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise require_extra("onnx", "the embeddings of a bundle", "export") from error
    import onnxruntime

    files = read_files(bundle.path, bundle.manifest)
    if MODEL not in files:
        raise _unfit(bundle, f"its format is {bundle.manifest.format}")
    model: Any = onnx.load_from_string(files[MODEL])
    name = _input_of_last_layer(model.graph)
    if name is None:
        raise _unfit(bundle, "its last layer is not a linear one")
    del model.graph.output[:]
    model.graph.output.append(onnx.ValueInfoProto(name=name))
    options, cpu = session_options(available_cores()), ON_CPU["onnxruntime"].place.provider
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[cpu])
    source = session.get_inputs()[0].name

    def infer(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        features: NDArray[np.float32] = session.run(None, {source: images})[0]
        return features.reshape(len(images), -1)

    return infer


def _input_of_last_layer(graph: Any) -> str | None:
    makers = {output: node for node in graph.node for output in node.output}
    wanted = graph.output[0].name
    while (node := makers.get(wanted)) is not None:
        if node.op_type in _LAYERS:
            return str(node.input[0])
        if node.op_type not in _SAME:
            return None
        wanted = next((name for name in node.input if name in makers), "")
    return None


def _unfit(bundle: Bundle, why: str) -> ConvsmithError:
    return ConvsmithError(
        f"{bundle.path} gives no embeddings", why, "Give the bundle of a classifier in the format ONNX, such as a run."
    )
