"""The published weights, as data: where they are, what they reach and what they expect. Needs no torch to be read."""

from __future__ import annotations

import fnmatch
import json
import logging
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from convsmith.errors import ConvsmithError, did_you_mean
from convsmith.hub import HUB, is_offline
from convsmith.machine import cache_folder
from convsmith.models.weights.bar import download_bar
from convsmith.models.weights.download import download, verified
from convsmith.models.weights.hub import hub_weights
from convsmith.progress import ProgressCallback
from convsmith.spec import Count, Fraction, Positive, Preprocess, Section, Side

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from convsmith.bundle.preprocess import ImageSource

logger = logging.getLogger(__name__)

SUFFIXES = (".safetensors", ".pth", ".pt", ".th", ".tar", ".bin", ".ckpt")
"""Endings of checkpoint files: a word that ends so is a path."""

PRETRAINED = "pretrained"
"""As the name of weights: those that a model's own publisher offers."""

Percent = Annotated[float, Field(ge=0, le=100)]


class Weights(Section):
    """One published checkpoint and all that belongs to it.

    `w.preprocess(image)` gives the model's input [3, crop, crop], uint8 in 0 to 255, as validation, `predict` and
    `serve` see it; `w.preprocessing` is the rule, `w.mean` and `w.std` normalise it.

    Examples:
        >>> found = cs.weights("resnet50.tv_v2")
        >>> found.model, found.top1, found.input_size
        ('resnet50', 80.858, (224, 224))
    """

    name: str = Field(description="`MODEL.SOURCE`, what `weights=` takes.")
    model: str = Field(description="The model they belong to.")
    url: str = Field(description="Where the publisher keeps the file.")
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{8}|[0-9a-f]{64})$")] | None = Field(
        description="SHA-256 of the file, or the first 8 digits where the publisher gives no more; null where none."
    )
    licence: str = Field(description="SPDX name of the publisher's licence.")
    source: str = Field(description="Page that these facts are from.")
    dataset: str = Field(description="What the accuracy was measured on.")
    options: dict[str, bool | Count] = Field({}, description="What else `create_model` takes for the model they fit.")
    input_size: tuple[Side, Side] = Field(description="[height, width] of the images that it was measured with.")
    preprocessing: Preprocess | None = Field(
        description="How images were prepared for that; null for segmentation, whose images are not made square."
    )
    mean: tuple[Fraction, Fraction, Fraction] = Field(description="Per-channel mean of images in 0 to 1.")
    std: tuple[Positive, Positive, Positive] = Field(description="Per-channel standard deviation of images in 0 to 1.")
    categories: tuple[str, ...] | None = Field(
        description="Name of each class, in the order of the logits; null where the publisher lists none."
    )
    top1: Percent | None = Field(None, description="Percent of images whose best class is right.")
    top5: Percent | None = Field(None, description="Percent of images with the right class among the best five.")
    miou: Percent | None = Field(None, description="Mean intersection over union, in percent.")
    params: Annotated[int, Field(gt=0)] = Field(description="Trainable parameters.")
    gmacs: Positive = Field(description="1e9 multiply-adds for one image of `input_size`.")

    @property
    def path(self) -> Path:
        """Where the file is kept on this machine, once it is downloaded or put there by hand."""
        return cache_folder() / "weights" / PurePosixPath(self.url).name

    def preprocess(self, image: ImageSource, name: str = "image") -> NDArray[np.uint8]:
        """The model's input [3, crop, crop] in 0 to 255, before it is normalised.

        Args:
            image: a path, the bytes of an image file, a Pillow image, or RGB pixels uint8 [H, W, 3].
            name: what an error calls an image that has no path.

        Raises:
            ImageError: it cannot be read.
            ConvsmithError: the weights have no such rule.
        """
        if self.preprocessing is None:
            raise ConvsmithError(
                f"`{self.name}` makes no square of an image",
                "it segments whole images, whose sides it keeps",
                "Give the model the pixels themselves, normalised with `mean` and `std`.",
            )
        from convsmith.bundle.preprocess import read_and_preprocess  # with numpy, not needed to list names

        return read_and_preprocess(image, self.preprocessing, name)

    def download(self, progress: ProgressCallback | None = None, within: float | None = None) -> Path:
        """Fetch the file unless it is here already, and return its path.

        Args:
            progress: called with the bytes that are here and those of the whole file; None shows a bar on a terminal.
            within: seconds that all may take, waits and further tries included; None: as long as it gets on.

        Raises:
            ConvsmithError: it cannot be had (the error says where a file fetched by other means belongs), or what was
                put there is another file.
        """
        if self.path.is_file():
            return verified(self.path, self.sha256)
        logger.info("downloading %s from %s", self.name, self.url)
        if self.sha256 is None and not is_offline():
            logger.warning(
                "no checksum of %s is published: its length and its archive's own sums are checked", self.name
            )
        if progress:
            return download(self.url, self.path, self.sha256, progress, within=within)
        with download_bar(self.path.name) as shown:
            return download(self.url, self.path, self.sha256, shown, within=within)


@cache
def _file() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(files("convsmith.models").joinpath("published.json").read_text(encoding="utf-8"))
    return data


@cache
def _published() -> dict[str, Weights]:
    data = _file()
    return {entry["name"]: _read(entry, data["categories"]) for entry in data["weights"]}


def _read(entry: dict[str, Any], categories: dict[str, list[str]]) -> Weights:
    """An entry of the file names its list of categories, which many share; a preprocessing has its mean and std."""
    names = categories[entry["categories"]] if entry["categories"] else None
    normalisation = {key: (entry["preprocessing"] or entry)[key] for key in ("mean", "std")}
    return Weights.model_validate_json(json.dumps({**entry, **normalisation, "categories": names}))


def list_weights(pattern: str = "*") -> list[str]:
    """Names of the published weights whose own name or model matches a shell pattern such as `resnet*`, sorted.

    Examples:
        >>> cs.list_weights("resnet18*")
        ['resnet18.tv_v1']
    """
    return sorted(
        name
        for name, it in _published().items()
        if fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(it.model, pattern)
    )


def weights_of_models() -> dict[str, list[str]]:
    """Names of the published weights of each model that has some, sorted."""
    found: dict[str, list[str]] = {}
    for entry in sorted(_file()["weights"], key=lambda it: it["name"]):
        found.setdefault(entry["model"], []).append(entry["name"])
    return found


def weights(name: str) -> Weights:
    """The published weights of that name, such as `resnet50.tv_v2`.

    Raises:
        ConvsmithError: there are none of that name.

    Examples:
        >>> cs.weights("convnext_tiny.fb_in1k").licence
        'MIT'
    """
    found = _published().get(name)
    if found is None:
        raise ConvsmithError(
            f"unknown weights `{name}`{did_you_mean(name, _published())}", fix="`convsmith weights` lists them."
        )
    return found


def resolve(given: str, model: str, backbone: str | None = None) -> Path:
    """The checkpoint file that `given` means for `model`: published weights, the Hub's, or a path.

    Args:
        given: what was given as weights.
        model: the model's name.
        backbone: the model whose weights serve this one's backbone, such as `hrnet_w18` that of `hrnet_w18_seg`.

    Raises:
        ConvsmithError: it names weights that are unknown, or those of another model.
    """
    if given.startswith(HUB):
        return hub_weights(given)
    if _is_path(given):
        return Path(given)
    found = weights(given)
    served = [model] if backbone is None else [model, backbone]
    if found.model not in served:
        own = ", ".join(name for other in served for name in list_weights(other)) or "none"
        raise ConvsmithError(
            f"the weights `{given}` are for `{found.model}`, not for `{model}`", fix=f"Those of `{model}`: {own}."
        )
    return found.download()


def best_published(model: str, backbone: str | None = None) -> str:
    """The published weights from which other images are learned best: the most accurate at the smallest images.

    Args:
        model: the name of a model of ours.
        backbone: the model whose weights serve this one's backbone, before its own.

    Raises:
        ConvsmithError: there are none.
    """
    for owner in filter(None, (backbone, model)):
        found = [it for it in _published().values() if it.model == owner]
        if found:
            return min(found, key=lambda it: (it.input_size, -(it.top1 or it.miou or 0.0))).name
    raise ConvsmithError(
        f"no weights of `{model}` are published that `{PRETRAINED}` could mean",
        fix="Give the path of a checkpoint file, or start from random weights with model.weights=null.",
    )


def options_of(given: str, model: str) -> dict[str, bool | int]:
    """Options that `create_model` needs besides the name so that `model` fits the weights `given`; {} for a path."""
    found = None if _is_path(given) else weights(given)
    return dict(found.options) if found and found.model == model else {}


def _is_path(given: str) -> bool:
    path = Path(given)
    return given not in _published() and (path.is_file() or path.parent != Path() or path.suffix in SUFFIXES)
