"""Models of timm and torchvision, with what every model of ours offers.

State-dict names are the library's own, so its files load as they are.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any, cast

from torch import Tensor, nn

from convsmith.errors import ConvsmithError
from convsmith.models.base import ImageClassifier, SegmentationModel, StagedClassifier, VisionModel, check_counts
from convsmith.models.checkpointing import Blocks

_STAGES = 4
# What torch says of maps that have become smaller than a layer's window.
_TOO_SMALL = "Kernel size can't be greater than actual input size|[Oo]utput size is too small|Output size is zero"


class BridgedModel(VisionModel):
    """A network of another library, called `model` here; its size limits are the library's."""

    def __init__(self, model: nn.Module, in_channels: int) -> None:
        super().__init__()
        self.model = model
        self._in_channels = in_channels
        self.register_state_dict_post_hook(_without_our_prefix)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_with_our_prefix)  # type: ignore[no-untyped-call]

    def load_state_dict(self, state_dict: Mapping[str, Any], *rest: Any, **keys: Any) -> Any:
        """Load as torch does; a file of tensors, which does not say its model's version, is taken for this version."""
        if not hasattr(state_dict, "_metadata"):
            state_dict = OrderedDict(state_dict)
            vars(state_dict)["_metadata"] = {"model": {"version": self.model._version}}  # which MNASNet asks for
        return super().load_state_dict(state_dict, *rest, **keys)

    @property
    @abstractmethod
    def heads(self) -> tuple[str, ...]:  # type: ignore[override]
        """Dotted paths, inside the library's model, of the layers that give logits."""

    @property
    def head_prefixes(self) -> tuple[str, ...]:
        """How the names of the heads' parameters begin: `model.`, then the path inside the library's model."""
        return tuple(f"model.{path}." for path in self.heads)

    @property
    def input_layer(self) -> str:
        """Dotted path, inside the library's model, of its first convolution; empty where it has none."""
        return next((path for path, module in self.model.named_modules() if isinstance(module, nn.Conv2d)), "")

    @property
    def in_channels(self) -> int:
        """C, the channels of the images."""
        return self._in_channels

    def block_prefixes(self) -> list[tuple[str, ...]]:
        """The layers that the library's own layer decay knows, else its blocks in the order they are registered."""
        matcher = getattr(self.model, "group_matcher", None)
        groups = _groups_by(matcher, self.model) if matcher else _groups_in_order(self.model)
        heads = tuple(f"{path}." for path in self.heads)
        # what holds a head, or lies in one, belongs to the last layer
        body = [g for g in groups if not any(n.startswith(heads) or h.startswith(n) for n in g for h in heads)]
        return [tuple(f"model.{name}" for name in group) for group in body]

    def reset_head(self, num_classes: int) -> None:
        """Replace the layers that give logits by freshly initialised ones for `num_classes` classes."""
        check_counts(num_classes=num_classes)
        for path in self.heads:
            old = self._head_layer(path)
            outputs = "out_features" if isinstance(old, nn.Linear) else "out_channels"
            self.model.set_submodule(path, _like(old, **{outputs: num_classes}))

    def gradient_checkpointing(self, enabled: bool = True) -> None:
        """In training, keep only what goes into each block, and compute it again for the backward pass.

        Raises:
            ConvsmithError: the model is not a sequence of blocks.
        """
        if not enabled:
            super().gradient_checkpointing(False)
            return
        sequences = list(_outermost_sequences(self.model))
        if not sequences:
            raise _no_checkpointing(self.model)
        for path, sequence in sequences:
            blocks = Blocks(OrderedDict(sequence.named_children()))
            blocks.training = sequence.training
            for block in blocks:
                if hasattr(block, "inplace"):
                    block.inplace = False  # type: ignore[assignment]  # it would change what is kept of the block before
            self.model.set_submodule(path, blocks)
        super().gradient_checkpointing()

    def widen_input(self, in_channels: int) -> None:
        """Replace the first convolution by a freshly initialised one for images of `in_channels` channels."""
        old = self.model.get_submodule(self.input_layer)
        self.model.set_submodule(self.input_layer, _like(cast(nn.Conv2d, old), in_channels=in_channels))
        self._in_channels = in_channels

    def _head_layer(self, path: str) -> nn.Linear | nn.Conv2d:
        return cast(nn.Linear | nn.Conv2d, self.model.get_submodule(path))

    def _run(self, x: Tensor, part: Callable[[Tensor], Any] | None = None) -> Any:
        """Apply the network, or a part of it, to images."""
        self._check_images(x)
        try:
            return (part or self.model)(x)
        except (AssertionError, RuntimeError) as error:  # the libraries refuse a size, or torch one that is left of it
            if isinstance(error, RuntimeError) and not re.search(_TOO_SMALL, str(error)):
                raise
            raise ConvsmithError(
                f"{type(self.model).__name__} does not take images of {x.shape[2]}x{x.shape[3]} pixels",
                str(error),
                "Give images of the size that it is made for, or larger ones.",
            ) from error


class TimmClassifier(BridgedModel, StagedClassifier):
    """A model of timm."""

    model: Any
    _kept: Sequence[int] = ()
    """Indices of the stages of a backbone, as timm counts them; empty for a classifier."""

    @property
    def heads(self) -> tuple[str, ...]:  # type: ignore[override]
        """Dotted paths, inside timm's model, of the layers that give logits; a backbone has none."""
        if self._kept:
            return ()
        found = self.model.get_classifier()
        parts = [*(found if isinstance(found, tuple) else (found,)), getattr(self.model, "aux_head", None)]  # VOLO's
        inside = {layer for part in parts if part is not None for layer in part.modules() if self._gives_logits(layer)}
        return tuple(path for path, module in self.model.named_modules() if module in inside)

    def _gives_logits(self, layer: nn.Module) -> bool:
        outputs = getattr(layer, "out_features", getattr(layer, "out_channels", None))
        return isinstance(layer, nn.Linear | nn.Conv2d) and outputs == self.num_classes

    @property
    def num_classes(self) -> int:
        """K, the number of logits."""
        return int(self.model.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, K] from normalised images [N, C, H, W]."""
        logits: Tensor = self._run(x)
        return logits

    def forward_features(self, x: Tensor) -> Tensor:
        """Features that the head sees, as timm defines them; [N, D] for most models."""
        self._check_images(x)
        features: Tensor = self.model.forward_head(self.model.forward_features(x), pre_logits=True)
        return features

    @property
    def stage_widths(self) -> tuple[int, ...]:  # type: ignore[override]
        """Channels of the maps of the last four stages, or of all where there are fewer."""
        return tuple(stage["num_chs"] for stage in self._feature_info[-_STAGES:])

    @property
    def _feature_info(self) -> list[dict[str, Any]]:
        """Facts that timm tells of each place that `features_only` takes maps from."""
        found = getattr(self.model, "feature_info", None) or []
        if len(found) < 2 or not hasattr(self.model, "prune_intermediate_layers"):
            raise ConvsmithError(
                f"timm's {type(self.model).__name__} has no stages that a decoder could work on",
                fix="Choose a model that timm builds with features_only=True.",
            )
        return list(found)

    def keep_stages(self, used: Sequence[int]) -> None:
        """Leave out all layers that timm's `features_only` does without.

        Raises:
            ConvsmithError: the model has no stages.
        """
        stages = range(len(self._feature_info))[-_STAGES:]
        self._kept = self.model.prune_intermediate_layers([stages[i] for i in used], prune_norm=True, prune_head=True)

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """Maps of the stages that were kept."""
        maps = partial(self.model.forward_intermediates, indices=self._kept, intermediates_only=True)
        stages: list[Tensor] = self._run(x, maps)
        return stages

    def reset_head(self, num_classes: int) -> None:
        """Replace the layers that give logits by freshly initialised ones for `num_classes` classes."""
        check_counts(num_classes=num_classes)
        like = next(self.model.parameters())
        self.model.reset_classifier(num_classes)
        self.model.to(like)

    def gradient_checkpointing(self, enabled: bool = True) -> None:
        """timm's own. Unlike that of our models, it updates BatchNorm's statistics twice in each step.

        Raises:
            ConvsmithError: timm cannot do it for this model.
        """
        try:
            self.model.set_grad_checkpointing(enabled)
        except (AttributeError, AssertionError) as error:
            raise _no_checkpointing(self.model) from error


class TorchvisionClassifier(BridgedModel, ImageClassifier):
    """A model of torchvision.models."""

    @property
    def heads(self) -> tuple[str, ...]:  # type: ignore[override]
        """Dotted path, inside torchvision's model, of its last layer."""
        return (_last_layer(self.model),)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, K] from normalised images [N, C, H, W]."""
        logits: Tensor = self._run(x)
        return logits

    def forward_features(self, x: Tensor) -> Tensor:
        """Features that the last layer sees."""
        return self._input_of_head(x, self._run)[1]


class TorchvisionSegmentation(BridgedModel, SegmentationModel):
    """A model of torchvision.models.segmentation; its logits have the size of the images."""

    @property
    def heads(self) -> tuple[str, ...]:  # type: ignore[override]
        """Dotted paths, inside torchvision's model, of the convolutions that give logits."""
        if hasattr(self.model.classifier, "low_classifier"):  # Lite R-ASPP adds up two
            return ("classifier.low_classifier", "classifier.high_classifier")
        parts = [part for part in ("aux_classifier", "classifier") if getattr(self.model, part) is not None]
        return tuple(f"{part}.{_last_layer(self.model.get_submodule(part))}" for part in parts)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Logits [N, K, H, W] from normalised images [N, C, H, W]; with `aux_loss`, [auxiliary, main] logits."""
        maps: dict[str, Tensor] = self._run(x)
        return [maps["aux"], maps["out"]] if "aux" in maps else maps["out"]

    def forward_features(self, x: Tensor) -> Tensor:
        """Features [N, D, H', W'] that the last convolution sees."""
        return self._input_of_head(x, self._run)[1]


def _without_our_prefix(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:  # noqa: ARG001
    inner = f"{prefix}model."
    for name in [name for name in state if name.startswith(inner)]:
        state[prefix + name.removeprefix(inner)] = state.pop(name)


def _with_our_prefix(module: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:  # noqa: ARG001
    beside = tuple(f"{prefix}{name}." for name, _ in module.named_children() if name != "model")  # ranges for INT8
    for name in [name for name in state if name.startswith(prefix) and not name.startswith(beside)]:
        state[f"{prefix}model.{name.removeprefix(prefix)}"] = state.pop(name)


def _like(old: nn.Linear | nn.Conv2d, **changes: int) -> nn.Module:
    """A layer as `old` but for its number of inputs or outputs, with fresh weights."""
    names = ["in_features", "out_features"] if isinstance(old, nn.Linear) else _CONVOLUTION
    settings = {name: getattr(old, name) for name in names} | changes
    return type(old)(**settings, bias=old.bias is not None, device=old.weight.device, dtype=old.weight.dtype)


_CONVOLUTION = ["in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation"]


def _last_layer(model: nn.Module) -> str:
    paths: list[str] = [path for path, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return paths[-1]


def _groups_by(matcher: Callable[[], Any], model: nn.Module) -> list[list[str]]:
    """Names of parameters by layer, as timm groups them."""
    group_parameters = import_module("timm.models").group_parameters
    return list(group_parameters(model, matcher()).values())


def _groups_in_order(model: nn.Module) -> list[list[str]]:
    """Prefixes by layer: what comes before the first sequence of blocks is the stem, all else is a layer each."""
    most = _size(model) / 2
    parts = list(_parts(model, "", most))
    stem = next((i for i, (in_sequence, _) in enumerate(parts) if in_sequence), 0)
    return [[name for _, name in parts[:stem]]] * bool(stem) + [[name] for _, name in parts[stem:]]


def _parts(module: nn.Module, path: str, most: float) -> Iterator[tuple[bool, str]]:
    """Parameters and children of `module`, sequences and whatever holds most of the model taken apart."""
    for name, _ in module.named_parameters(recurse=False):
        yield False, f"{path}{name}"
    for name, child in module.named_children():
        if type(child) in _SEQUENCES or _size(child) > most:
            yield from _parts(child, f"{path}{name}.", most)
        elif _size(child):
            yield type(module) in _SEQUENCES, f"{path}{name}."


_SEQUENCES = (nn.Sequential, nn.ModuleList, Blocks)


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _outermost_sequences(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Sequential]]:
    for name, child in module.named_children():
        if type(child) in (nn.Sequential, Blocks):
            yield path + name, cast(nn.Sequential, child)
        else:
            yield from _outermost_sequences(child, f"{path}{name}.")


def _no_checkpointing(model: nn.Module) -> ConvsmithError:
    return ConvsmithError(f"{type(model).__name__} offers no gradient checkpointing", fix="Train it without.")
