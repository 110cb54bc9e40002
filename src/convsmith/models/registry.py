"""Models by name. A family is one file of this package that has a `MODELS` mapping; no other file lists it."""

from __future__ import annotations

import fnmatch
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor

import convsmith.models
from convsmith.errors import ConvsmithError, did_you_mean
from convsmith.models.base import VisionModel, check_counts
from convsmith.models.bridge import build as build_bridged
from convsmith.models.bridge import is_bridged, list_bridged
from convsmith.models.published import options_of, resolve
from convsmith.models.weights import load_weights


@cache
def _builders() -> dict[str, Callable[..., VisionModel]]:
    builders: dict[str, Callable[..., VisionModel]] = {}
    for file in pkgutil.iter_modules(convsmith.models.__path__, "convsmith.models."):
        builders |= getattr(import_module(file.name), "MODELS", {})
    return builders


def list_models(pattern: str = "*") -> list[str]:
    """Names of the models that match a shell pattern such as `resnet*`, sorted.

    Models of other libraries are listed by a pattern that begins with `timm/` or `torchvision/`.

    Raises:
        ConvsmithError: that library is not installed.
    """
    return list_bridged(pattern) if is_bridged(pattern) else sorted(fnmatch.filter(_builders(), pattern))


def create_model(
    name: str,
    num_classes: int | None = None,
    weights: str | Path | Mapping[str, Tensor] | None = None,
    **options: Any,
) -> VisionModel:
    """Build a model.

    Args:
        name: one of `list_models()`, or a model of another library such as `timm/resnet18d` or `torchvision/vgg16`.
        num_classes: number of logits; None keeps the family's default (1000; CIFAR models 10).
        weights: one of `list_weights()`, downloaded where it is not here yet, or a checkpoint to load (see
            `load_weights`); `pretrained` for another library's own weights; None for random initial weights.
        options: further keyword arguments of the family, such as `in_channels` or `zero_init_residual`, or of the
            other library's builder.

    Raises:
        ConvsmithError: the name or an option is unknown, or the weights cannot be had or do not fit.
    """
    counts = {"num_classes": num_classes, **options}
    check_counts(
        **{key: counts[key] for key in ("num_classes", "in_channels", "in_chans") if counts.get(key) is not None}
    )
    if is_bridged(name):
        pretrained = isinstance(weights, str) and weights == "pretrained"
        bridged = build_bridged(name, num_classes, pretrained, options)
        if weights is not None and not pretrained:
            load_weights(bridged, resolve(weights, name) if isinstance(weights, str) else weights)
        return bridged
    builder = _builders().get(name)
    if builder is None:
        raise ConvsmithError(
            f"unknown model `{name}`{did_you_mean(name, _builders())}", fix="`convsmith models` lists them."
        )
    known = [p for p in inspect.signature(builder).parameters if p not in ("block", "depths", "depth")]
    for option in options:
        if option not in known:
            raise ConvsmithError(
                f"model `{name}` has no option `{option}`{did_you_mean(option, known)}",
                fix=f"Its options are: {', '.join(known)}.",
            )
    if isinstance(weights, str):
        options = {**options_of(weights, name), **options}
        weights = resolve(weights, name)
    if num_classes is not None:
        options["num_classes"] = num_classes
    try:
        model = builder(**options)
    except (TypeError, ValueError, RuntimeError) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in options.items())
        raise ConvsmithError(f"model `{name}` cannot be built with {given}", str(error)) from error
    if weights is not None:
        load_weights(model, weights)
    return model
