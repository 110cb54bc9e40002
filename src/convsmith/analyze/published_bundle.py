"""Published classifiers by name, as bundles in memory that give embeddings."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from convsmith.bundle.format import Manifest
from convsmith.bundle.predictor import Bundle
from convsmith.deploy.format import open_bundle
from convsmith.deploy.onnx_export import inference_model
from convsmith.deploy.torch_runtime import TorchRuntime
from convsmith.errors import ConvsmithError, did_you_mean
from convsmith.models.base import ImageClassifier
from convsmith.models.registry import backbone_of, create_model, is_of_another_library, list_models, named_weights
from convsmith.models.weights.origin import origin_of
from convsmith.models.weights.published import PRETRAINED, list_weights, weights


def bundle_or_published(given: str | Path) -> Bundle:
    """The bundle or run at a path, or what `published_bundle` makes of a name.

    Raises:
        ConvsmithError: it is none of these, or cannot be opened.
    """
    known = [*list_models(), *list_weights()]
    if isinstance(given, Path) or Path(given).exists():
        return open_bundle(Path(given))
    if given not in known and not is_of_another_library(given):
        raise ConvsmithError(
            f"`{given}` is neither a bundle or run here nor a published model{did_you_mean(given, known)}",
            fix="`convsmith weights` lists what is published; timm/NAME and torchvision/NAME are other libraries'.",
        )
    return published_bundle(given)


def published_bundle(name: str) -> Bundle:
    """A bundle in memory of a published classifier, which prepares images as its publisher does.

    Args:
        name: of weights, such as `resnet50.tv_v2`; of a model, whose best published ones are taken; or of a model of
            another library, such as `timm/resnet18`, with its own.

    Raises:
        ConvsmithError: there are no such weights; they are not here and cannot be fetched, where the error says which
            file to bring; or they are not a classifier's.
    """
    model_name, of = (weights(name).model, name) if name in list_weights() else (name, named_weights(PRETRAINED, name))
    origin = None if backbone_of(model_name) else origin_of(of, model_name)
    if origin is None or origin.preprocessing is None:
        raise _unfit(name)
    model = create_model(model_name, weights=of)
    if not isinstance(model, ImageClassifier):
        raise _unfit(name)
    head = model.get_submodule(model.heads[-1])
    assert isinstance(head, nn.Linear)
    manifest = Manifest.model_construct(  # of what is on no disk: there are no files and no checksum to state
        task="classification",
        model={"name": model_name},
        labels=tuple(map(str, range(model.num_classes))),
        preprocess=origin.preprocessing,
        metrics={},
        parity={},
        recipe={},
        data_digest=None,
        created_with={},
        files={},
        checksum="",
        embeddings=head.in_features,
    )
    runtime = TorchRuntime(inference_model(model, origin.preprocessing, embeddings=True))
    return Bundle(Path(origin.name), manifest, runtime)


def _unfit(name: str) -> ConvsmithError:
    return ConvsmithError(f"`{name}` gives no embeddings", "it is not a classifier", "Choose one, such as resnet50.")
