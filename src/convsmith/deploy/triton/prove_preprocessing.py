"""Proof of a preprocessing graph: how far what it makes of image files is from what the bundle makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from convsmith.bundle.format import Manifest
from convsmith.bundle.images.bands import decode
from convsmith.bundle.preprocess import preprocess
from convsmith.bundle.runtime import Runtime, session_options
from convsmith.deploy.triton.preprocess_graph import PIXELS
from convsmith.errors import ConvsmithError
from convsmith.spec import Preprocess

_LEVELS = 2  # of 255 that a value may differ by: one for each side that is resized


def prove_preprocessing(graph: bytes, model: Runtime, manifest: Manifest, images: Iterable[bytes]) -> dict[str, Any]:
    """Figures of how near a graph's inputs, and what the model says of them, are to Pillow's.

    Args:
        graph: the preprocessing, as `preprocess_onnx` makes it.
        model: what it is for.
        manifest: of the bundle.
        images: image files.

    Returns:
        `images`; `max_abs_diff` and `mean_abs_diff`: of the model's inputs, in 0 to 255; `logits_max_abs_diff`; and
        `top1_agreement`, the share of images of which the highest logit is the same.

    Raises:
        ConvsmithError: a value differs by more than two levels.
    """
    import onnxruntime

    spec = manifest.preprocess
    assert isinstance(spec, Preprocess)
    session = onnxruntime.InferenceSession(graph, session_options(1), providers=["CPUExecutionProvider"])
    worst, means, logits, same = 0, list[float](), 0.0, list[bool]()
    for content in images:
        picture = decode(content, "image", spec.bands)
        expected = preprocess(picture, spec)[None]
        (given,) = session.run(None, {PIXELS: np.atleast_3d(np.asarray(picture))})
        apart = np.abs(expected.astype(np.int16) - given)
        worst, means = max(worst, int(apart.max())), [*means, float(apart.mean())]
        said, says = model.run(expected), model.run(given)
        logits, same = max(logits, float(np.abs(said - says).max())), [*same, bool(said.argmax() == says.argmax())]
    if worst > _LEVELS:
        raise ConvsmithError(
            "the preprocessing of the export is not the bundle's",
            f"what it makes of images differs by up to {worst} of 255",
            "Nothing was written. Please report this with the recipe.",
        )
    return {
        "images": len(means),
        "max_abs_diff": worst,
        "mean_abs_diff": float(np.mean(means)),
        "logits_max_abs_diff": logits,
        "top1_agreement": float(np.mean(same)),
    }
