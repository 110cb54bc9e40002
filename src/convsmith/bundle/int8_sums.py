"""Whether the sums of an INT8 bundle are the same here as where it was proved."""

from __future__ import annotations

import logging
from pathlib import Path

from convsmith.bundle.format import Manifest
from convsmith.processor import instructions, native_target

logger = logging.getLogger(__name__)


def warn_of_sums_cut_off(path: Path, manifest: Manifest) -> None:
    """Warn if weights of a bundle use all 8 bits and this processor adds products in 16, so that answers may differ.

    Bundles without a target are of an older convsmith, which had no other.
    """
    made = manifest.model.get("quantization")
    if not isinstance(made, dict) or made.get("target") == "any-x86" or native_target() is not None:
        return
    logger.warning(
        "%s is INT8 for processors with VNNI or for ARM, and this one (%s) is neither: sums of products can be cut "
        "off, and answers be others than those that were proved. Measure it here with `convsmith evaluate`, or make it "
        "again with `convsmith quantize --target any-x86`",
        path,
        instructions(),
    )
