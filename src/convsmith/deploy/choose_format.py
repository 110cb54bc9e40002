"""The format that is fastest on this machine, by measuring."""

from __future__ import annotations

import logging

import numpy as np

from convsmith.bundle.runtime import Runtime
from convsmith.deploy.format import Exportable, export_files, open_files
from convsmith.deploy.formats import CANDIDATES
from convsmith.deploy.speed import median_seconds
from convsmith.errors import ConvsmithError
from convsmith.machine import available_cores

logger = logging.getLogger(__name__)


def fastest_format(source: Exportable, channels: int) -> tuple[str, dict[str, float]]:
    """The candidate that answers one image soonest with all cores, and the milliseconds of each that can be had here.

    Args:
        source: what is exported.
        channels: of its images.

    Raises:
        ConvsmithError: not even the first can be made.
    """
    runtimes: dict[str, Runtime] = {}
    for name in CANDIDATES:
        try:
            runtimes[name] = open_files(name, export_files(name, source), available_cores())
        except ConvsmithError as error:
            if not runtimes:
                raise
            logger.info("%s is not tried: %s (%s)", name, error.what, error.why)
    noise = np.random.default_rng(0).integers(0, 256, (1, channels, *source.size), np.uint8)
    seconds = median_seconds(runtimes, noise)
    return min(seconds, key=seconds.__getitem__), {name: 1000 * it for name, it in seconds.items()}
