"""Models by name. A family is one file of `families/` that has a `MODELS` mapping; no other file lists it.

Beside it may be `SIZES`, height and width that the authors measure a model at where that is not 224x224, and
`BACKBONES`, the model whose weights serve as another one's backbone.

A decoder is one file that has a `DECODERS` mapping. On the model NAME, ours or timm's, it is the model `NAME_DECODER`.
"""

from __future__ import annotations

import fnmatch
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor

from convsmith.complaints import either
from convsmith.errors import ConvsmithError, did_you_mean, plain
from convsmith.models import families
from convsmith.models.base import StagedClassifier, VisionModel, check_counts
from convsmith.models.bridge import build as build_bridged
from convsmith.models.bridge import called_so, fetched, gives_stages, is_bridged, list_bridged
from convsmith.models.decoder import Decoded, StagedSegmentation, split_options
from convsmith.models.weights.load import load_weights
from convsmith.models.weights.published import PRETRAINED, best_published, options_of, resolve


@cache
def _of_all_families(table: str) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for file in pkgutil.iter_modules(families.__path__, f"{families.__name__}."):
        merged |= getattr(import_module(file.name), table, {})
    return merged


@cache
def _builders() -> dict[str, Callable[..., VisionModel]]:
    own: dict[str, Callable[..., VisionModel]] = _of_all_families("MODELS")
    decoded = {
        f"{name}_{decoder}": Decoded(kind, backbone, family)
        for name, (backbone, family) in _backbones(own).items()
        for decoder, kind in _of_all_families("DECODERS").items()
    }
    return own | decoded


def _backbones(
    builders: Mapping[str, Callable[..., Any]],
) -> dict[str, tuple[Callable[..., StagedClassifier], type[StagedClassifier]]]:
    """Those that build classifiers with stages, and the classes of these."""
    families = {name: it.func if isinstance(it, partial) else it for name, it in builders.items()}
    return {
        name: (builders[name], family)
        for name, family in families.items()
        if isinstance(family, type) and issubclass(family, StagedClassifier)
    }


def _decoder_of(name: str) -> tuple[str, type[StagedSegmentation] | None]:
    """The backbone that `name` puts a decoder on, and the decoder; the name itself and None where it has none."""
    backbone, _, decoder = name.rpartition("_")
    kind = _of_all_families("DECODERS").get(decoder)
    return (name, None) if kind is None else (backbone, kind)


def default_size(name: str) -> tuple[int, int]:
    """Height and width that the authors measure our model `name` at; for segmentation, their crop in training."""
    usual = (224, 224) if _decoder_of(name)[1] is None else (512, 512)
    size: tuple[int, int] = _of_all_families("SIZES").get(name, usual)
    return size


def backbone_of(name: str) -> str | None:
    """The model whose weights `name` takes as its backbone; None where it has none."""
    backbone, decoder = _decoder_of(name)
    return _of_all_families("BACKBONES").get(name) if decoder is None else backbone


def is_of_another_library(name: str) -> bool:
    """Whether `name` begins as the names of timm's and torchvision's models do."""
    return is_bridged(name)


def list_models(pattern: str = "*") -> list[str]:
    """Names of the models that match a shell pattern such as `resnet*`, sorted.

    Models of other libraries are listed by a pattern that begins with `timm/` or `torchvision/`; with a decoder on
    them where it ends as that decoder's names do, such as `timm/resnet*_upernet`.

    Raises:
        ConvsmithError: that library is not installed.

    Examples:
        >>> cs.list_models("convnext_isotropic_*")
        ['convnext_isotropic_base', 'convnext_isotropic_large', 'convnext_isotropic_small']
    """
    if not is_bridged(pattern):
        return sorted(fnmatch.filter(_builders(), pattern))
    backbones, decoder = _decoder_of(pattern)
    if decoder is None or not gives_stages(pattern):
        return list_bridged(pattern)
    return [f"{name}{pattern.removeprefix(backbones)}" for name in list_bridged(backbones)]


def check_weights(given: str, name: str) -> None:
    """Refuse weights of which `create_model` would know no such name; a path is taken on trust, nothing downloaded.

    Raises:
        ConvsmithError: there are no published weights of that name.
    """
    if not _is_the_librarys_own(given, name):
        options_of(named_weights(given, name), name)


def _is_the_librarys_own(weights: object, name: str) -> bool:
    """Whether another library is to fetch its weights of its model."""
    return is_bridged(name) and weights == PRETRAINED


def named_weights(given: str, name: str) -> str:
    """The published name that `pretrained` stands for where the model `name` is ours; anything else as it is given.

    Raises:
        ConvsmithError: no weights of such a model are published.
    """
    return best_published(name, backbone_of(name)) if given == PRETRAINED and name in _builders() else given


def fetch_weights(given: str, name: str) -> None:
    """Bring what `create_model` would load as weights of a model to this machine; a path is taken on trust.

    Raises:
        ConvsmithError: there are no such weights, or they cannot be had.
    """
    if _is_the_librarys_own(given, name):
        fetched(_decoder_of(name)[0])
    else:
        resolve(named_weights(given, name), name, backbone_of(name))


def create_model(
    name: str,
    num_classes: int | None = None,
    weights: str | Path | Mapping[str, Tensor] | None = None,
    weights_key: str = "auto",
    **options: Any,
) -> VisionModel:
    """Build a model, a torch module from normalised images float32 [N, C, H, W] to logits [N, num_classes].

    One for segmentation gives logits [N, num_classes, H', W'], or a list of such maps whose last is the prediction;
    its `segment` resizes that to [N, num_classes, H, W].

    Args:
        name: one of `list_models()`, or a model of another library such as `timm/resnet18d` or `torchvision/vgg16`.
        num_classes: number of logits; None keeps the family's default (1000; CIFAR models 10).
        weights: one of `list_weights()`, downloaded where it is not here yet, or a checkpoint to load (see
            `load_weights`); `pretrained` for the best published ones of ours, and for another library's own; None for
            random initial weights.
        weights_key: entry of the checkpoint that holds the weights, such as `model_ema`; `auto` looks for it.
        options: further keyword arguments of the family, such as `in_channels` or `zero_init_residual`, or of the
            other library's builder.

    Raises:
        ConvsmithError: the name or an option is unknown, or the weights cannot be had or do not fit.

    Examples:
        >>> model = cs.create_model("cifar_resnet20", num_classes=3)
        >>> model(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 3])
    """
    if not isinstance(name, str):
        raise ConvsmithError(f"a model's name is a text, not {name!r}", fix="`convsmith models` lists them.")
    if not isinstance(weights, str | Path | Mapping | None):
        raise ConvsmithError(
            f"weights are a name, a path or a state dict, not {weights!r}", fix="`convsmith weights` lists the names."
        )
    counts = {"num_classes": num_classes, **options}
    check_counts(
        **{key: counts[key] for key in ("num_classes", "in_channels", "in_chans") if counts.get(key) is not None}
    )
    if isinstance(weights, str):
        weights = named_weights(weights, name)
    pretrained = _is_the_librarys_own(weights, name)
    if pretrained and weights_key != "auto":
        raise ConvsmithError(
            f"weights_key `{weights_key}` names an entry of a checkpoint, but `pretrained` is another library's matter",
            fix="Leave it out, or give a checkpoint file.",
        )
    if is_bridged(name):
        model: VisionModel = _build_bridged(name, num_classes, pretrained, options)
    else:
        model = _build(name, num_classes, weights if isinstance(weights, str) else None, options)
    if weights is not None and not pretrained:
        load_weights(model, _found(weights, name), weights_key)
    return model


def _found(weights: str | Path | Mapping[str, Tensor], name: str) -> Path | Mapping[str, Tensor]:
    """The checkpoint that `weights` mean for the model `name`."""
    return resolve(weights, name, backbone_of(name)) if isinstance(weights, str) else weights


def create_trained_model(
    name: str, num_classes: int | None, weights: str | Path, weights_key: str = "auto", **options: Any
) -> VisionModel:
    """Build a model all of whose weights are those named, its head's too.

    Args:
        name, num_classes, weights, weights_key, options: those of `create_model`.

    Raises:
        ConvsmithError: the weights are of other classes, or of a backbone alone, or what `create_model` raises.
    """
    if isinstance(weights, str):
        weights = named_weights(weights, name)
    if _is_the_librarys_own(weights, name):
        model = create_model(name, None, weights, weights_key, **options)
        fits = num_classes in (None, model.num_classes) and _decoder_of(name)[1] is None
    else:
        shape = {**(options_of(weights, name) if isinstance(weights, str) else {}), **options}
        if num_classes is not None:
            shape["num_classes"] = num_classes
        model = create_model(name, **shape)
        report = load_weights(model, _found(weights, name), weights_key)
        own = {key for key in model.state_dict() if not key.endswith("num_batches_tracked")}
        fits = own <= set(report.loaded)
    if not fits:
        raise ConvsmithError(
            f"`{weights}` gives `{name}` no head for num_classes={num_classes or model.num_classes}",
            "a new one would answer at random",
            "Choose weights that were trained on these classes.",
        )
    return model


def _build_bridged(name: str, num_classes: int | None, pretrained: bool, options: dict[str, Any]) -> VisionModel:
    """A model of another library, or a decoder of ours on one; its weights are then the backbone's."""
    backbone, decoder = _decoder_of(name)
    if decoder is None:
        return build_bridged(name, num_classes, pretrained, options)
    if not gives_stages(backbone):
        raise ConvsmithError(
            f"`{backbone}` gives no maps of its stages, which a decoder works on",
            fix="Choose one of timm's models or of ours as its backbone.",
        )
    own, theirs = split_options(decoder, options if num_classes is None else {**options, "num_classes": num_classes})
    classifier = build_bridged(backbone, 1, pretrained, theirs)  # a head that is left out at once
    assert isinstance(classifier, StagedClassifier)
    return decoder(classifier, **own)


def _build(name: str, num_classes: int | None, weights: str | None, options: dict[str, Any]) -> VisionModel:
    """A model of ours, shaped as the published weights of that name ask where `options` do not say otherwise."""
    builder = _builders().get(name)
    if builder is None:
        backbone, decoder = _decoder_of(name)
        if decoder is not None and backbone in _builders():
            raise ConvsmithError(
                f"there is no model `{name}`: `{backbone}` has no stages that a decoder could work on",
                fix=f"`convsmith models '*_{name.rpartition('_')[2]}'` lists the models that have that decoder.",
            )
        elsewhere = called_so(name) if plain(name) not in _builders() else []
        if decoder is not None:
            elsewhere = [f"{it}{name.removeprefix(backbone)}" for it in called_so(backbone) if gives_stages(it)]
        meant = f"; did you mean {either(elsewhere)}?" if elsewhere else did_you_mean(name, _builders())
        raise ConvsmithError(
            f"unknown model `{name}`{meant}",
            fix="`convsmith models` lists ours; timm/* and torchvision/* those of these libraries.",
        )
    known = list(inspect.signature(builder).parameters)
    for option in options:
        if option not in known:
            raise ConvsmithError(
                f"model `{name}` has no option `{option}`{did_you_mean(option, known)}",
                fix=f"Its options are: {', '.join(known)}.",
            )
    if weights is not None:
        options = {**options_of(weights, name), **options}
    if num_classes is not None:
        options["num_classes"] = num_classes
    try:
        return builder(**options)
    except (TypeError, ValueError) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in options.items())
        raise ConvsmithError(f"model `{name}` cannot be built with {given}", str(error)) from error
