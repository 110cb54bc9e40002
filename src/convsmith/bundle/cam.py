"""Class activation maps of a bundle: where in an image it found what speaks for a class. Needs no torch.

Zhou et al. 2016 (arXiv:1512.04150). Where a model's last layer is linear, and sees the mean of each feature over all
places, a class's weights say of each place what it adds. The gradients of such a model are these weights, so its map is
that of Grad-CAM too. Features and weights are read out of the ONNX file, float or INT8, as further outputs.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.bilinear import resize_bilinear
from convsmith.bundle.calibration import scaled as scaled_logits
from convsmith.bundle.forking import no_fork
from convsmith.bundle.format import MODEL, Manifest, read_model
from convsmith.bundle.heat import scaled
from convsmith.bundle.images.image_error import NoAnswer
from convsmith.bundle.onnx_content import GRAPH, Node, check_onnx, constants_of
from convsmith.bundle.onnx_sizes import Sizes
from convsmith.bundle.predictor import Bundle
from convsmith.bundle.protobuf import field, fields_of, within
from convsmith.bundle.runtime import INPUT, OUTPUT, session_options
from convsmith.errors import ConvsmithError
from convsmith.machine import available_cores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

WHY_NONE = "its last layer is not a linear one that sees the mean over all places, or its file is not ONNX"
"""The reason why a bundle has no map."""

_LAYERS, _MEANS = ("Gemm", "MatMul"), ("GlobalAveragePool", "ReduceMean")
_SAME = ("Identity", "Reshape", "Flatten", "Squeeze", "Dropout", "Cast", "QuantizeLinear", "DequantizeLinear")
_FEATURES, _WEIGHTS = "cam_features", "cam_weights"
_NODE, _OUTPUT = 1, 12  # fields of a graph


@dataclass(frozen=True)
class Sources:
    """Names the values of an ONNX file that a map is made of.

    Attributes:
        features: [N, C, h, w], of which the last layer sees the means.
        weights: of the last layer.
        by_class: whether these are [K, C], and not [C, K].
    """

    features: str
    weights: str
    by_class: bool


def find_sources(model: bytes, image: tuple[int, int, int], classes: int) -> Sources | None:
    """Find the values that maps of an ONNX model are made of; None where its last layer sees something else than means.

    Args:
        model: the file.
        image: channels, height and width of what it takes.
        classes: how many there are.

    Raises:
        ValueError: the model does more than compute.
    """
    graph = check_onnx(model)
    makers, constants = {name: node for node in graph.nodes for name in node.outputs}, constants_of(graph)
    layer = _reach(OUTPUT, makers, constants, (*_SAME, "Add"), _LAYERS)
    if layer is None or layer.inputs[1] not in constants:
        return None
    mean = _reach(layer.inputs[0], makers, constants, _SAME, _MEANS)
    if mean is None:
        return None
    features, weights, by_class = mean.inputs[0], layer.inputs[1], layer.numbers.get("transB") == [1]
    shapes = {name: size.shape for name, size in Sizes(model, graph).of((1, *image)).items()}
    shapes |= {name: tensor.shape for name, tensor in graph.tensors.items()}
    shape = shapes[features]
    is_map = len(shape) == 4 and prod(shape[2:]) > 1
    fits = is_map and shapes[weights] == ((classes, shape[1]) if by_class else (shape[1], classes))
    return Sources(features, weights, by_class) if fits else None


def _reach(
    name: str,
    makers: dict[str, Node],
    constants: Collection[str],
    through: Collection[str],
    wanted: Collection[str],
) -> Node | None:
    """The nearest operation of those wanted that a value is made by, through some others."""
    while (node := makers.get(name)) is not None and node.operator not in wanted:
        if node.operator not in through:
            return None
        name = next((it for it in node.inputs if it not in constants), "")
    return node


class Cam:
    """Says where a bundle finds what speaks for a class; safe to use from several threads.

    The model is in memory once more from the first map on, and runs on the CPU by onnxruntime.

    Args:
        path: the folder of a classifier.
        manifest: its manifest.
        sources: of its model.
        threads: how many threads a map may use.
    """

    def __init__(self, path: Path, manifest: Manifest, sources: Sources, threads: int) -> None:
        self._path, self._manifest, self._sources, self._threads = path, manifest, sources, threads
        self._lock = threading.Lock()

    def heat(self, seen: NDArray[np.uint8], class_id: int | None = None, name: str = "image") -> NDArray[np.float32]:
        """Where the model finds the class, float32 [H, W] in 0 to 1, in what `Bundle.preprocess` returned.

        Args:
            seen: [C, H, W].
            class_id: the class; None: the one that is predicted.
            name: what errors call the image.

        Raises:
            ConvsmithError: the bundle's file is gone or another one, or no map can be made of its model.
            NoAnswer: the model gives no finite answer.
        """
        features, weights, logits = self._run(seen)
        if not np.isfinite(logits).all() or not np.isfinite(features).all():
            raise NoAnswer.of_logits(name)
        if class_id is None:
            class_id = int(scaled_logits(logits[0], self._manifest.calibration).argmax())
        row = weights[class_id] if self._sources.by_class else weights[:, class_id]
        places = np.maximum(np.tensordot(row.astype(np.float32), features[0].astype(np.float32), 1), 0)
        height, width = seen.shape[1:]
        return scaled(resize_bilinear(scaled(places), (height, width)))

    def _run(self, seen: NDArray[np.uint8]) -> list[NDArray[np.floating]]:
        with self._lock:
            session = self._session
        try:
            with no_fork():
                return list(session.run([_FEATURES, _WEIGHTS, OUTPUT], {INPUT: seen[None]}))
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            raise ConvsmithError(f"no map can be made of {self._path}", str(error)) from error

    @cached_property
    def _session(self) -> InferenceSession:
        import onnxruntime

        model = read_model(self._path, self._manifest)
        try:
            return onnxruntime.InferenceSession(
                _with_outputs(model, self._sources), session_options(self._threads), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # see above
            raise ConvsmithError(f"no map can be made of {self._path}", str(error)) from error


def open_cam(bundle: Bundle, threads: int | None = None) -> Cam | None:
    """Find out how maps of a bundle are made; None if its file is not ONNX, or its last layer sees something else.

    Args:
        bundle: the bundle.
        threads: how many threads a map may use; None takes all cores of this process.

    Raises:
        ConvsmithError: the bundle's file is gone, or another one.
    """
    size, model_file = bundle.manifest.only_size, bundle.manifest.files.get(MODEL)
    if size is None or model_file is None:
        return None
    image = bundle.manifest.preprocess.bands.channels, *size
    sources = find_sources(read_model(bundle.path, bundle.manifest), image, len(bundle.labels))
    return Cam(bundle.path, bundle.manifest, sources, threads or available_cores()) if sources else None


def _with_outputs(model: bytes, sources: Sources) -> bytes:
    """The model that gives features and weights besides."""
    names = ((sources.features, _FEATURES), (sources.weights, _WEIGHTS))
    added = b"".join(field(_NODE, _identity(name, new)) + field(_OUTPUT, field(1, new.encode())) for name, new in names)
    rest = b"".join(field(number, value) for number, value in fields_of(memoryview(model)) if number != GRAPH)
    return rest + field(GRAPH, bytes(within(memoryview(model), GRAPH)) + added)


def _identity(name: str, new: str) -> bytes:
    return field(1, name.encode()) + field(2, new.encode()) + field(4, b"Identity")
