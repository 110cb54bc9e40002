"""Distances of images from the training images, fitted and put into a bundle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from convsmith.analyze.embed import embedding_bundle
from convsmith.analyze.fit_distance import fit_distances
from convsmith.analyze.probe import Embedded, embed_data
from convsmith.bundle.distance import DISTANCE
from convsmith.bundle.format import MODEL, check_own, read_files, read_manifest
from convsmith.bundle.predictor import Bundle, load
from convsmith.bundle.write import Card, write_bundle
from convsmith.errors import ConvsmithError
from convsmith.progress import ProgressCallback, notebook_progress
from convsmith.tables import Tabular

_FEWEST = 20  # images that give percentiles


@dataclass(frozen=True, repr=False)
class FittedDistance(Tabular):
    """Distances that a bundle says from now on.

    Attributes:
        path: the bundle.
        images: training images whose embeddings it keeps.
        held_out: images that gave the percentiles.
        median: the distance that half of these have at most.
    """

    path: str
    images: int
    held_out: int
    median: float

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    def records(self) -> list[dict[str, Any]]:
        """One row."""
        return [self.to_dict()]

    def parts(self) -> Iterator[str]:
        """The images that they rest on."""
        yield (
            f"{self.path} says distances to the nearest of {self.images} training images; "
            f"half of {self.held_out} held-out images are nearer than {self.median:.3g}"
        )


def fit_distance(
    bundle: str | Path, data: str | Path, *, device: str = "auto", progress: ProgressCallback = notebook_progress
) -> FittedDistance:
    """Let a bundle say of each image how far it is from its training images; it is changed where it lies.

    Args:
        bundle: the bundle's folder, or the run that it is in. A classifier that was packed without embeddings is given
            the second output, from where its ONNX file is cut for them.
        data: what it was trained on.
        device: what the model runs on, as `load` takes it.
        progress: called with how many images are done, of how many.

    Raises:
        ConvsmithError: the bundle has no embeddings, or the data cannot be used or are too few.
    """
    check_own(bundle)
    opened = embedding_bundle(load(bundle, device=device))
    return write_distance(opened, *embed_data(opened, Path(data), progress))


def write_distance(opened: Bundle[Any], train: Embedded, val: Embedded) -> FittedDistance:
    """Put distances into a bundle, as `embedding_bundle` gave it; see `fit_distance`."""
    source, manifest = opened.path, opened.manifest
    if len(train.rows) < 2 or len(val.rows) < _FEWEST:
        raise ConvsmithError(
            "distances cannot be fitted",
            f"there are {len(train.rows)} training and {len(val.rows)} validation images, and {_FEWEST} of these tell "
            "percentiles",
            "Give more images.",
        )
    content, facts = fit_distances(train.rows, val.rows)
    files = {**read_files(source, manifest), DISTANCE: content}
    if read_manifest(source).embeddings is None:  # so far its model gives them in memory alone
        from convsmith.deploy.onnx_outputs import with_embeddings  # with onnx, which other bundles do not need

        files[MODEL] = with_embeddings(files[MODEL]) or files[MODEL]
    write_bundle(source, files, replace(Card.of(manifest), distance=facts))
    median = facts.quantiles[len(facts.quantiles) // 2]
    return FittedDistance(str(source), facts.images, facts.held_out, median)
