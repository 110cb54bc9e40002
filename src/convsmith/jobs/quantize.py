"""A bundle in INT8 by any method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convsmith.bundle.format import bundle_folder
from convsmith.deploy.quantization import Method, Quantization
from convsmith.deploy.quantize import quantize_bundle
from convsmith.errors import ConvsmithError
from convsmith.processor import Target
from convsmith.progress import ProgressCallback, notebook_progress
from convsmith.storage import beside


def quantize(
    bundle: str | Path,
    data: str | Path,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    method: Method = "static",
    target: Target | None = None,
    max_drop: float | None = None,
    images: int | None = None,
    seed: int | None = None,
    speed: bool = False,
    progress: ProgressCallback = notebook_progress,
) -> Quantization:
    """Make an INT8 bundle of a float one, and measure both on the validation images.

    Args:
        bundle: the float bundle's folder, or a run, which has it inside.
        data: what it was trained on, or a folder of the same classes and layout.
        out: the new bundle's folder; an older bundle there is replaced. None: `BUNDLE-int8` beside the other one.
        overrides: with `qat`, changes to `int8_recipe`, such as `schedule.epochs=5`.
        method: `static` for all layers, see `quantize_bundle`; `dynamic`, which needs no images to calibrate, for the
            linear ones; `qat` to train on, see `quantize_by_training`.
        target: the processors that it is for: `any-x86`, whose weights have 7 bits, so that sums are exact without VNNI
            too; `vnni` or `arm`, whose weights have 8. None: `any-x86`, but with `static` what this processor is where
            `any-x86` loses more than `max_drop` and that does not.
        max_drop: with `static`, points of the recipe's metric that the held-out images may lose; None: 0.1.
        images: with `static`, how many to calibrate with; None: 512.
        seed: with `static`, chooses those images; None: 0.
        speed: also measure how fast both are here, for seconds; `benchmark` does so at any time.
        progress: called with what is done.

    Raises:
        ConvsmithError: an argument goes with another method, or what the method raises.

    Examples:
        >>> made = cs.quantize("runs/photos", "photos/", "photos-int8", max_drop=100)
        >>> made.method, made.images
        ('static', 12)
    """
    source = bundle_folder(Path(bundle))
    out = beside(source, "-int8") if out is None else out
    given: dict[str, Any] = {"max_drop": max_drop, "images": images, "seed": seed}
    given = {name: value for name, value in given.items() if value is not None}
    if given and method != "static":
        raise ConvsmithError(
            f"{' and '.join(given)} cannot be set with the method {method}",
            "it is static INT8 that calibrates, and searches layers to keep in float",
            "The seed of a training is seed=N, at the end." if method == "qat" else "",
        )
    if method == "qat":
        from convsmith.jobs.qat import quantize_by_training

        return quantize_by_training(source, data, out, overrides, target=target, speed=speed, progress=progress)
    if overrides:
        raise ConvsmithError(
            f"{' '.join(overrides)} changes a training", f"the method {method} has none", "Use the method qat."
        )
    return quantize_bundle(source, data, out, method=method, target=target, speed=speed, progress=progress, **given)
