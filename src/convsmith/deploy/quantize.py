"""From a float bundle to an INT8 bundle, with what was won and lost measured in one go."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import onnx

from convsmith.bundle.format import Manifest, read_manifest, read_model, rewrite_bundle
from convsmith.bundle.runtime import available_cores
from convsmith.deploy.dynamic_int8 import quantize_dynamic
from convsmith.deploy.labelled import LabelledImages, Progress, balanced_order, metric_of, no_progress, open_labelled
from convsmith.deploy.out import check_out
from convsmith.deploy.qdq import Graph
from convsmith.deploy.speed import BATCH, Speed, first_input, measure_speed
from convsmith.deploy.static_int8 import FloatLayer, Int8, quantize_static
from convsmith.deploy.trial import Verdict, compare, run_all
from convsmith.errors import ConvsmithError

Method = Literal["static", "dynamic"]

_HELD_OUT = 4096  # images that choose rule and layers: the more, the better a tenth of a point is known;
_HELD_OUT_PIXELS = 512 * 224 * 224  # fewer of large ones
_INTEGER_OPERATORS = frozenset({"QuantizeLinear", "DynamicQuantizeLinear"})


@dataclass(frozen=True)
class Form:
    """The model in one of its forms.

    Attributes:
        bytes: size of the ONNX file.
        latency_ms, images_per_second: see `Speed`.
        metrics: on the validation images, fractions.
    """

    bytes: int
    latency_ms: float
    images_per_second: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class Quantization:
    """What became of a bundle in INT8.

    Attributes:
        method: `static` or `dynamic`.
        rule: how ranges were chosen; None where none were.
        metric: name of the metric that `drop` is of.
        drop: points that INT8 loses on the validation images; negative where it gains.
        max_drop: what was allowed on the images held out of calibration.
        images: of the validation data, that both forms were judged by.
        calibration_images, held_out_images: what ranges were measured on, and what rule and layers were chosen by.
        seed: chose those images.
        threads, batch, size: what speed was measured with; height and width of the images.
        float_model: the model as it was.
        int8_model: the model as it is.
        parity: how far the logits of both are from each other.
        layers: how many layers have weights.
        float_layers: those that do not compute on integers, and why.
        tried: what each rule lost on the held-out images, with all layers in INT8.
        held_out: what the result loses on them.
        note: what the method does not cover; None where there is nothing to say.
    """

    method: Method
    rule: str | None
    metric: str
    drop: float
    max_drop: float | None
    images: int
    calibration_images: int
    held_out_images: int
    seed: int
    threads: int
    batch: int
    size: tuple[int, int]
    float_model: Form
    int8_model: Form
    parity: dict[str, float]
    layers: int
    float_layers: tuple[FloatLayer, ...]
    tried: dict[str, Verdict]
    held_out: Verdict | None
    note: str | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def quantize_bundle(
    bundle: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    method: Method = "static",
    max_drop: float = 0.1,
    images: int = 512,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Quantization:
    """Make an INT8 bundle of a float one, and measure both on the validation images.

    Ranges are measured on training images, as many of each class as of any other; rule and float layers are chosen by
    other training images. The validation images have no part in any choice.

    Args:
        bundle: the float bundle's folder.
        data: what it was trained on, or a folder of the same classes and layout.
        out: the new bundle's folder; an older bundle there is replaced.
        method: `static` for all layers; `dynamic`, which needs no images to calibrate, for the linear ones.
        max_drop: points of top-1, or of mIoU, that the held-out images may lose (method `static`).
        images: how many to calibrate with; fewer where the training images are not twice as many.
        seed: chooses those images; the same seed gives the same bytes.
        progress: is told what is done.

    Raises:
        ConvsmithError: bundle or data cannot be used, `out` is or holds one of them or anything but a bundle, the
            bundle is INT8 already, or more than `max_drop` is lost.
    """
    source = Path(bundle)
    check_out(Path(out), (source, Path(data)))
    manifest = read_manifest(source)
    if manifest.format != "onnx":
        raise ConvsmithError(
            f"{source} cannot be quantized",
            f"its format is {manifest.format}; ranges and layers are those of the ONNX file in float32",
            "Give the bundle that training wrote, such as runs/NAME/bundle.",
        )
    content = read_model(source, manifest)
    if _INTEGER_OPERATORS & {node.op_type for node in onnx.load_from_string(content).graph.node}:
        raise ConvsmithError(f"{source} is INT8 already", "only a float bundle can be quantized")
    train, val = open_labelled(manifest, Path(data))
    if method == "dynamic":
        model, note = quantize_dynamic(content)
        made, counts = None, (0, 0)
    else:
        made, counts = _static(manifest, content, train, max_drop, images, seed, progress)
        model, note = made.content, None
    exact, integer = (
        run_all(manifest, content_, val, progress, f"{name} on validation images")
        for name, content_ in (("float", content), ("INT8", model))
    )
    verdict = compare(manifest, exact, integer)
    threads, example = available_cores(), first_input(manifest, next(iter(val))[0])
    progress("speed", 0, 1)
    speeds = measure_speed({"float": content, "int8": model}, example, threads)
    progress("speed", 1, 1)
    report = Quantization(
        method=method,
        rule=made.rule if made else None,
        metric=metric_of(manifest),
        drop=verdict.drop,
        max_drop=max_drop if made else None,
        images=len(val),
        calibration_images=counts[0],
        held_out_images=counts[1],
        seed=seed,
        threads=threads,
        batch=BATCH,
        size=(example.shape[1], example.shape[2]),
        float_model=form_of(content, speeds["float"], exact.metrics),
        int8_model=form_of(model, speeds["int8"], integer.metrics),
        parity={name: value for name, value in asdict(verdict).items() if name != "drop"},
        layers=len(Graph.load(content).weighted()),
        float_layers=made.float_layers if made else (),
        tried=made.tried if made else {},
        held_out=made.verdict if made else None,
        note=note,
    )
    rewrite_bundle(
        Path(out),
        model,
        manifest,
        model_info={**manifest.model, "quantization": report.to_dict()},
        metrics=report.int8_model.metrics,
        parity={"compared_with": "the float bundle", "images": report.images, **report.parity},
        created_with={name: version(name) for name in ("convsmith", "onnx", "onnxruntime")},
    )
    return report


def _static(
    manifest: Manifest,
    content: bytes,
    train: LabelledImages,
    max_drop: float,
    images: int,
    seed: int,
    progress: Progress,
) -> tuple[Int8, tuple[int, int]]:
    order = balanced_order(train.samples.targets, seed)
    if len(order) < 2:
        raise ConvsmithError("one training image is not enough", "one calibrates, another one judges")
    count = min(images, len(order) // 2)
    calibration = train.select(order[:count])
    first = next(iter(calibration), None)
    if first is None:
        raise ConvsmithError("the model cannot be calibrated", "not one image can be read", "Repair or replace them.")
    _, height, width = first[0].shape
    most = min(_HELD_OUT, max(8, _HELD_OUT_PIXELS // (height * width)))
    held_out = list(train.select(order[count : count + most]))
    made = quantize_static(manifest, content, calibration, held_out, max_drop, progress)
    return made, (len(calibration), len(held_out))


def form_of(content: bytes, speed: Speed, metrics: dict[str, float]) -> Form:
    """What there is to say of an ONNX file."""
    return Form(len(content), speed.latency_ms, speed.images_per_second, metrics)
