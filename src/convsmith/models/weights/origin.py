"""Where weights come from: their licence, and how images were prepared for them. Ours, timm's and torchvision's."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from convsmith.errors import ConvsmithError
from convsmith.hub import HUB
from convsmith.models.bridge import imported, is_bridged, model_names, torchvision_weights
from convsmith.models.weights.hub import hub_config
from convsmith.models.weights.published import PRETRAINED, list_weights
from convsmith.models.weights.published import weights as published
from convsmith.spec import Interpolation, Preprocess

_PERMISSIVE = frozenset({"apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0"})
"""Licences, in small letters, that ask for little more than to be named."""

Values = tuple[float, ...]


@dataclass(frozen=True)
class Origin:
    """The publisher's statements about weights.

    Attributes:
        name: of the weights, such as `resnet50.tv_v2` or `timm/resnet18.a1_in1k`.
        licence: as the publisher calls it, by an SPDX name for most; None where it says nothing.
        mean, std: by which images in 0 to 1 are normalised.
        preprocessing: how an image becomes the square that the weights were measured with; None for segmentation.
        is_nearest: whether that is only the nearest of our rules to what the publisher does.
    """

    name: str
    licence: str | None
    mean: Values
    std: Values
    preprocessing: Preprocess | None
    is_nearest: bool = False

    @property
    def is_restricted(self) -> bool:
        """Whether the licence asks for more than most: it may forbid what the model is meant for."""
        return self.licence is not None and self.licence.lower() not in _PERMISSIVE


def origin_of(weights: str | None, model: str) -> Origin | None:
    """Facts about the weights that a model starts from; None for random ones, and for files.

    Args:
        weights: a name, `pretrained`, or a path.
        model: whose they are; under a decoder, its backbone.

    Raises:
        ConvsmithError: the library that has them is not installed, or has none of that name.
    """
    if weights in list_weights():
        found = published(str(weights))
        return Origin(found.name, found.licence, found.mean, found.std, found.preprocessing)
    if weights is not None and weights.startswith(HUB):
        config = hub_config(weights)
        return _of_timm(weights, {**config, **config.get("pretrained_cfg", {})}) if "pretrained_cfg" in config else None
    return bridged_origin(model) if weights == PRETRAINED and is_bridged(model) else None


def bridged_origin(name: str) -> Origin:
    """Statements of timm or torchvision on the weights `timm/NAME` or `torchvision/NAME`, with or without their tag.

    Raises:
        ConvsmithError: the library is not installed, or has no such weights.
    """
    library, _, inner = name.partition("/")
    return _LIBRARIES[library][1](inner)


def list_bridged_weights(pattern: str) -> list[str]:
    """Names of another library's weights that match a shell pattern such as `timm/convnext*`, or whose model does.

    Raises:
        ConvsmithError: the library is not installed.
    """
    library = pattern.partition("/")[0]
    names = [f"{library}/{inner}" for inner in _LIBRARIES[library][0]()]
    return sorted(it for it in names if any(fnmatch.fnmatchcase(word, pattern) for word in (it, it.partition(".")[0])))


def _timm_names() -> Sequence[str]:
    names: list[str] = imported("timm").list_pretrained()
    return names


def _timm(name: str) -> Origin:
    try:
        found = imported("timm").models.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError as error:
        raise ConvsmithError(f"timm knows no weights `{name}`", str(error)) from error
    if not found.has_weights:
        raise ConvsmithError(f"timm has no weights of `{name}`", fix="Train it from random initial weights.")
    tag = f".{found.tag}" if found.tag else ""
    return _of_timm(f"timm/{found.architecture}{tag}", found.to_dict())


def _of_timm(name: str, config: Mapping[str, Any]) -> Origin:
    """Statements of timm's description of weights, in its own code or in a file of the Hub."""
    try:
        (height, width), share, mode = config["input_size"][1:], config["crop_pct"], config.get("crop_mode", "center")
        crop, method = max(height, width), "resize_then_crop"
        resize = max(crop, int(crop / share))  # timm puts a black frame around what is smaller
        if mode == "squash":
            method, resize = "warp", crop
        known = config["interpolation"] if config["interpolation"] in get_args(Interpolation) else "bicubic"
        means = {"mean": tuple(config["mean"]), "std": tuple(config["std"])}
        sizes = {"resize": resize, "crop": crop, "method": method, "interpolation": known}
        rule = Preprocess.model_validate({**sizes, **means})
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise ConvsmithError(
            f"how images are prepared for `{name}` cannot be read", str(error).split("\n")[0]
        ) from error
    licence = config.get("license")
    is_nearest = height != width or share > 1 or known != config["interpolation"] or mode == "border"
    is_nearest = is_nearest or (mode == "squash" and share < 1)
    return Origin(name, licence if isinstance(licence, str) else None, rule.mean, rule.std, rule, is_nearest)


def _torchvision_names() -> Sequence[str]:
    models = imported("torchvision").models
    return [f"{name}.{it.name}" for name in model_names("torchvision") for it in models.get_model_weights(name)]


def _torchvision(name: str) -> Origin:
    model, _, tag = name.partition(".")
    weights = torchvision_weights(model, tag)
    rule: Any = weights.transforms()
    means = {"mean": tuple(rule.mean), "std": tuple(rule.std)}
    preprocessing = None
    if hasattr(rule, "crop_size"):
        sizes = {"resize": rule.resize_size[0], "crop": rule.crop_size[0], "interpolation": rule.interpolation.value}
        preprocessing = Preprocess.model_validate({**sizes, **means})
    # the files that have a licence of their own are SWAG's, which links to CC BY-NC 4.0
    licence = (
        "cc-by-nc-4.0" if "SWAG" in weights.meta.get("license", "") else weights.meta.get("license", "bsd-3-clause")
    )
    return Origin(f"torchvision/{model}.{weights.name}", licence, means["mean"], means["std"], preprocessing)


_LIBRARIES: dict[str, tuple[Callable[[], Sequence[str]], Callable[[str], Origin]]] = {
    "timm": (_timm_names, _timm),
    "torchvision": (_torchvision_names, _torchvision),
}
