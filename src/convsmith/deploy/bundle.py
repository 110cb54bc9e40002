"""From trained weights to a bundle on disk, proved before it is written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from convsmith.bundle.format import Colour
from convsmith.bundle.runtime import Infer, OnnxRuntime
from convsmith.bundle.task import find_task
from convsmith.bundle.write import Card, write_bundle
from convsmith.deploy.onnx_description import described
from convsmith.deploy.onnx_export import export_onnx, inference_model
from convsmith.deploy.parity import FLOAT32, INT8, Tolerance, measure_embeddings, measure_parity
from convsmith.deploy.trained_int8 import export_int8
from convsmith.errors import ConvsmithError
from convsmith.models.fake_quant import rounding_of
from convsmith.processor import instructions
from convsmith.recipe.schema import Recipe

logger = logging.getLogger(__name__)

_Compare = Callable[[Infer, Iterable[Tensor], Tolerance], dict[str, float]]
"""Measures how far a file is from the model that was trained."""

_TWICE_DB = 6.0  # of noise: what two roundings, one on either side of the floats, differ by


def make_bundle(
    directory: Path,
    model: nn.Module,
    recipe: Recipe,
    *,
    labels: Sequence[str],
    metrics: Mapping[str, float],
    images: Iterable[Tensor],
    data_digest: str | None = None,
    colours: Sequence[Colour] | None = None,
    began_with: Mapping[str, str | None] | None = None,
    tuned: Mapping[str, Any] | None = None,
    float_tolerance: Tolerance = FLOAT32,
    int8_tolerance: Tolerance = INT8,
) -> None:
    """Export `model`, prove the export on real images, and write the bundle.

    What `train_for_int8` changed becomes an INT8 model, which computes on the integers of the training. It is proved in
    two steps: the graph before integers are put into it, to the precision of float32; then the INT8 file.

    Args:
        directory: the bundle's folder; replaced if it exists.
        model: the trained model, whose input are normalised images.
        recipe: what it was trained with.
        labels: class names in the order of the logits.
        metrics: what training measured on the validation data.
        images: batches of preprocessed real images, uint8 [N, 3, H, W].
        data_digest: `data_digest` of the data it was trained on.
        colours: RGB of each class in pictures; None: usual ones.
        began_with: name and licence of the published weights that the training began with, if it did.
        tuned: further keys of the card, that validation images decided.
        float_tolerance: how far the float file may be from the model, or from the model without rounding.
        int8_tolerance: how far the INT8 file may be from the model that was trained for it.

    Raises:
        ConvsmithError: the exported model differs from the trained one; nothing is written.
    """
    exact = inference_model(model, recipe.preprocess, recipe.bundle.embeddings)
    compare = partial(measure_parity, exact, exclusive=find_task(recipe.task).exclusive)
    more: dict[str, Any] = {}
    if recipe.bundle.embeddings:
        images = list(images)
    thresholds = (tuned or {}).get("thresholds")
    rounding = rounding_of(exact)
    if rounding is None:
        onnx = export_onnx(exact, recipe.input_size, any_size=recipe.preprocess.only_size() is None)
        onnx = described(onnx, recipe.task, labels, recipe.preprocess, thresholds)
        runtime = OnnxRuntime(onnx)
        parity = dict[str, Any](compare(runtime.run, images, float_tolerance))
    else:
        made = export_int8(exact, recipe)
        onnx = described(made.content, recipe.task, labels, recipe.preprocess, thresholds)
        images = list(images)
        with rounding.in_form("float"):  # rounding hides what is wrong with normalisation or layers
            compare(OnnxRuntime(made.float_content).run, images, float_tolerance)
        runtime = OnnxRuntime(onnx)
        parity = _int8_parity(compare, runtime.run, made.float_content, images, int8_tolerance)
        more = {
            "quantization": {
                "method": "training",
                "target": recipe.quantization_aware and recipe.quantization_aware.target,
                "float_layers": made.float_layers,
            }
        }
    length = None
    if recipe.bundle.embeddings:
        tolerance = float_tolerance if rounding is None else int8_tolerance
        parity["embeddings"], length = measure_embeddings(exact, runtime, images, tolerance)
    card = Card(
        task=recipe.task,
        model={
            "name": recipe.model.name,
            "options": recipe.model_options,
            "params": sum(parameter.numel() for parameter in model.parameters()),
            **({"weights": dict(began_with)} if began_with else {}),
            **more,
        },
        labels=labels,
        preprocess=recipe.preprocess,
        metrics=dict(metrics),
        parity={"instructions": instructions(), **parity},
        recipe=recipe.model_dump(mode="json"),
        data_digest=data_digest,
        colours=colours,
        embeddings=length,
        created_with={package: version(package) for package in ("convsmith", "torch", "onnx", "onnxruntime")},
        **(tuned or {}),
    )
    write_bundle(directory, onnx, card)


def _int8_parity(
    compare: _Compare, run: Infer, float_onnx: bytes, images: Sequence[Tensor], tolerance: Tolerance
) -> dict[str, float]:
    """Compare the INT8 file as `compare` does.

    A model that has learned little is moved far by any rounding, and one runtime's differs from another's by a level
    here and there: then the file may be as far from the model as two roundings can be that far from the floats.
    """
    try:
        return compare(run, images, tolerance)
    except ConvsmithError:
        moved = compare(OnnxRuntime(float_onnx).run, images, Tolerance())
        farthest = Tolerance(agreement=2 * moved["top1_agreement"] - 1, snr_db=moved["snr_db"] - _TWICE_DB)
        parity = compare(run, images, farthest)
    logger.warning(
        "rounding moves the model's logits far, to %.1f dB above the noise: it has learned too little for INT8 so far",
        moved["snr_db"],
    )
    return parity
