"""From a float bundle to an INT8 bundle, with what was won and lost measured in one go."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import onnx
from onnx import TensorProto

from convsmith.bundle.format import Manifest, read_manifest, read_model
from convsmith.bundle.onnx_work import check_model
from convsmith.bundle.task import find_task
from convsmith.bundle.write import Card, write_bundle
from convsmith.deploy.certainty import score_of_chance
from convsmith.deploy.dynamic_int8 import quantize_dynamic
from convsmith.deploy.forms import form_of
from convsmith.deploy.graph import Graph, is_int8
from convsmith.deploy.judging import Labelled
from convsmith.deploy.labelled import LabelledImages, balanced_order, metric_of, open_labelled
from convsmith.deploy.onnx_description import described
from convsmith.deploy.out import check_out
from convsmith.deploy.quantization import Method, Quantization
from convsmith.deploy.speed import BATCH, time_together
from convsmith.deploy.static_int8 import NoInt8, quantize_static
from convsmith.deploy.trial import compare, embeddings_apart, pixel_errors, run_all
from convsmith.errors import ConvsmithError, counted
from convsmith.processor import Target, check_target, instructions
from convsmith.progress import ProgressCallback, no_progress
from convsmith.spec import Size

logger = logging.getLogger(__name__)

IMAGES = 512
"""Images to calibrate with, where nothing else is said."""

MAX_DROP = 0.1
"""Points of the recipe's metric that INT8 may lose, where nothing else is said."""

_HELD_OUT = 4096  # images that choose rule and layers: the more, the better a tenth of a point is known;
_HELD_OUT_PIXELS = 512 * 224 * 224  # fewer of large ones
_ENOUGH = 100  # images, to calibrate or to judge: with fewer a change of one percent is not seen
_LOWEST_OPSET = 18  # below, another exporter writes other graphs
_OTHER_FLOATS = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})


def quantize_bundle(
    bundle: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    method: Literal["static", "dynamic"] = "static",
    target: Target | None = None,
    max_drop: float = MAX_DROP,
    images: int = IMAGES,
    seed: int = 0,
    speed: bool = False,
    progress: ProgressCallback = no_progress,
) -> Quantization:
    """Make an INT8 bundle of a float one, and measure both on the validation images.

    Ranges are measured on training images, as many of each class as of any other; rule and float layers are chosen by
    other training images. The validation images have no part in any choice.

    Args:
        bundle: the float bundle's folder.
        data: what it was trained on, or a folder of the same classes and layout.
        out: the new bundle's folder; an older bundle there is replaced.
        method: `static` for all layers; `dynamic`, which needs no images to calibrate, for the linear ones.
        target: the processors that it is for; None: see `quantize_static`, and any x86 with the method `dynamic`.
        max_drop: points of `metric_of` that the held-out images may lose (method `static`).
        images: how many to calibrate with; fewer where the training images are not twice as many (likewise).
        seed: chooses those images; the same seed gives the same bytes (likewise).
        speed: also measure how fast both are here.
        progress: called with what is done.

    Raises:
        ConvsmithError: bundle or data cannot be used, `out` is or holds one of them or anything but a bundle, the
            bundle is INT8 already, the target cannot be proved here, or more than `max_drop` is lost.
    """
    source = Path(bundle)
    check_out(Path(out), (source,), Path(data))
    if target is not None:
        check_target(target)
    manifest, content = read_float(source)
    if manifest.calibration is not None:
        logger.warning("%s is calibrated, its INT8 form will not be: its logits are others; calibrate that too", source)
        manifest = manifest.without_calibration()
    if manifest.distance is not None:
        logger.warning("%s knows distances, its INT8 form will not: fit those too, by `convsmith embed --fit`", source)
        manifest = manifest.without_distance()
    train, val = open_labelled(manifest, Path(data))
    if method == "dynamic":
        model, note = quantize_dynamic(content, target or "any-x86")
        target = target or "any-x86"
        report = replace(
            measure(method, manifest, content, model, val, target=target, speed=speed, progress=progress), note=note
        )
    else:
        calibration, held_out = _choose(train, images, seed)
        made = quantize_static(
            manifest, content, calibration, held_out, max_drop=max_drop, progress=progress, target=target
        )
        model = made.content
        report = replace(
            measure(method, manifest, content, model, val, target=made.target, speed=speed, progress=progress),
            any_x86=made.any_x86,
            float_layers=made.float_layers,
            seed=seed,
            rule=made.rule,
            max_drop=max_drop,
            calibration_images=made.calibration_images,
            held_out_images=made.held_out_images,
            tried=made.tried,
            held_out=made.verdict,
        )
    card = replace(
        Card.of(manifest),
        model={**manifest.model, "quantization": report.to_dict()},
        metrics=report.int8_model.metrics,
        parity={
            "compared_with": "the float bundle",
            "instructions": instructions(),
            "images": report.images,
            **report.parity,
            "source": manifest.parity,
        },
        created_with={
            **manifest.created_with,
            **{name: version(name) for name in ("convsmith", "onnx", "onnxruntime")},
        },
    )
    write_bundle(
        Path(out), described(model, manifest.task, manifest.labels, manifest.preprocess, manifest.thresholds), card
    )
    return report


def read_float(bundle: Path) -> tuple[Manifest, bytes]:
    """A bundle that can be made INT8, and its ONNX model.

    Raises:
        ConvsmithError: it is damaged, of another format than ONNX in float32, computes too much, or is INT8 already.
    """
    manifest = read_manifest(bundle)
    if manifest.format != "onnx":
        raise ConvsmithError(
            f"{bundle} cannot be quantized",
            f"its format is {manifest.format}; ranges and layers are those of the ONNX file in float32",
            "Give the bundle that training wrote, such as runs/NAME/bundle.",
        )
    content = read_model(bundle, manifest)
    model = onnx.load_from_string(content)
    if is_int8(model):
        raise NoInt8(f"{bundle} is INT8 already", "only a float bundle can be quantized")
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset < _LOWEST_OPSET:
        raise ConvsmithError(
            f"{bundle} cannot be quantized",
            f"its ONNX file has opset {opset}, and ranges and layers are those of {_LOWEST_OPSET} and more",
            "Give the bundle that training wrote, such as runs/NAME/bundle.",
        )
    others = {tensor.data_type for tensor in model.graph.initializer} & _OTHER_FLOATS
    if others:
        raise ConvsmithError(
            f"{bundle} cannot be quantized",
            f"its ONNX file has weights in {' and '.join(sorted(TensorProto.DataType.Name(kind) for kind in others))}; "
            "ranges and layers are those of the file in float32",
            "Give the bundle that training wrote, such as runs/NAME/bundle.",
        )
    check_model(content)
    return manifest, content


def measure(
    method: Method,
    manifest: Manifest,
    exact: bytes,
    int8: bytes,
    val: LabelledImages,
    *,
    target: Target | None,
    speed: bool,
    progress: ProgressCallback,
) -> Quantization:
    """Judge the float and the INT8 model by the same images, and time them together where that is asked for.

    Args:
        method: how the INT8 model was made.
        manifest: says how both look at images.
        exact: the float ONNX model.
        int8: the INT8 ONNX model.
        val: the validation images.
        target: the processors that the INT8 model is for.
        speed: whether to time them.
        progress: called with what is done.
    """
    exact_said, int8_said = (
        run_all(manifest, content, val, progress, f"{name} on validation images")
        for name, content in (("float", exact), ("INT8", int8))
    )
    verdict = compare(manifest, exact_said, int8_said)
    errors = [exact_said.ece, int8_said.ece]
    if not find_task(manifest.task).one_size:
        errors = pixel_errors(manifest, (exact, int8), val, progress)
    if exact_said.images < _ENOUGH:
        logger.warning("%s: what INT8 loses is hardly known", counted(exact_said.images, "validation image"))
    timed = time_together({"float": exact, "int8": int8}, manifest, val, progress) if speed else None
    return Quantization(
        method=method,
        metric=metric_of(manifest),
        drop=verdict.drop,
        interval=verdict.interval,
        chance=score_of_chance(metric_of(manifest), exact_said.results, len(manifest.labels)),
        images=exact_said.images,
        threads=timed.threads if timed else None,
        batch=BATCH if timed else None,
        size=timed.size if timed else None,
        float_model=form_of(exact, timed.speeds["float"] if timed else None, exact_said.metrics, errors[0]),
        int8_model=form_of(int8, timed.speeds["int8"] if timed else None, int8_said.metrics, errors[1]),
        parity={
            **{name: value for name, value in asdict(verdict).items() if name not in ("drop", "interval")},
            **embeddings_apart(exact_said, int8_said),
        },
        layers=len(Graph.load(exact).weighted()),
        target=target,
    )


def _choose(train: LabelledImages, images: int, seed: int) -> tuple[LabelledImages, list[Labelled]]:
    """Images that calibrate, and further training images that choose rule and float layers."""
    order = balanced_order(train.samples.targets, seed)
    if len(order) < 2:
        raise NoInt8("one training image is not enough", "one calibrates, another one judges")
    count = min(images, len(order) // 2)
    calibration = train.select(order[:count])
    first = next(iter(calibration), None)
    if first is None:
        raise ConvsmithError("the model cannot be calibrated", "not one image can be read", "Repair or replace them.")
    if count < _ENOUGH:
        logger.warning(
            "%s to calibrate with: others may have values beyond their ranges, and lose more than is measured here; "
            "take %d and more, or the method qat",
            counted(count, "training image"),
            _ENOUGH,
        )
    _, height, width = first[0].shape
    return calibration, list(train.select(order[count : count + most_held_out((height, width))]))


def most_held_out(size: Size) -> int:
    """How many images of that height and width choose rule and layers, at most."""
    return min(_HELD_OUT, max(8, _HELD_OUT_PIXELS // (size[0] * size[1])))
