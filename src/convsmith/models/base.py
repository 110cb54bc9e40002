"""Bases of all models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convsmith.errors import ConvsmithError
from convsmith.models.checkpointing import Recomputing


def check_counts(**counts: Any) -> None:
    """Refuse what is not a whole number of at least 1.

    Raises:
        ConvsmithError: it names the argument.
    """
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ConvsmithError(f"{name} is a whole number of at least 1, not {count!r}")


class VisionModel(nn.Module, ABC):
    """A network for images, whose last layers can be replaced to change the number of classes.

    A family names in `heads` its layers that give logits, as dotted paths such as `classifier.1`: the last one gives
    the prediction, those before it logits that only training needs.
    """

    task: ClassVar[str]
    """Which task the outputs are for: the name of a file of `convsmith.tasks`."""
    heads: ClassVar[tuple[str, ...]]
    smallest_side: int = 1
    """The fewest pixels that an image may have in height and in width."""

    @property
    def num_classes(self) -> int:
        """K, the number of logits."""
        layer = self._head_layer(self.heads[-1])
        return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels

    @property
    def head_prefixes(self) -> tuple[str, ...]:
        """How the names of the heads' parameters begin, up to the dot after the layer's name."""
        return tuple(f"{path}." for path in self.heads)

    @property
    def input_layer(self) -> str:
        """Dotted path of the convolution that sees the image."""
        path: str = next(path for path, module in self.named_modules() if isinstance(module, nn.Conv2d))
        return path

    @property
    def in_channels(self) -> int:
        """C, the channels of the images."""
        layer = self.get_submodule(self.input_layer)
        assert isinstance(layer, nn.Conv2d)
        return layer.in_channels

    @abstractmethod
    def forward_features(self, x: Tensor) -> Tensor:
        """Features that the head works on, from images [N, C, H, W].

        A classifier's are [N, D], and its one linear layer makes logits of them. A segmentation model's are
        the maps that the last convolution sees; of HRNet's, whose heads have further layers, those that go into them.

        Raises:
            ConvsmithError: the images are not such a batch, have another number of channels, are not floats, or are too
                small.
        """

    def with_embeddings(self, x: Tensor, run: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """The output of `run` for images [N, C, H, W], a call of this model, and its embeddings [N, D].

        These are what the last head sees, averaged over places where it sees maps or tokens.

        Raises:
            ConvsmithError: the model never calls its head, which it may compute by other words.
        """
        output, seen = self._input_of_head(x, run)
        is_map = isinstance(self._head_layer(self.heads[-1]), nn.Conv2d)
        places = range(2, seen.ndim) if is_map else range(1, seen.ndim - 1)
        return output, seen.mean(tuple(places)) if places else seen

    def _input_of_head(self, x: Tensor, run: Callable[[Tensor], Any]) -> tuple[Any, Tensor]:
        """The output of a call of this model, and what its last head was given in it."""
        seen: list[Tensor] = []
        head = self._head_layer(self.heads[-1])
        handle = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            output = run(x)
        finally:
            handle.remove()
        if not seen:
            raise ConvsmithError(
                f"{type(self).__name__} gives no features",
                f"it never calls its head `{self.heads[-1]}`",
            )
        return output, seen[-1]

    @abstractmethod
    def block_prefixes(self) -> list[tuple[str, ...]]:
        """Prefixes of parameters' names for each layer id, from the input (the stem, 0) to the output.

        A name that no prefix fits is the head's. The last letter of a prefix is the dot after a module's name.
        """

    def layer_ids(self) -> dict[str, int]:
        """Depth of each parameter: 0 in the stem, one more for each block, the most in the head."""
        prefixes = self.block_prefixes()

        def layer_id(name: str) -> int:
            return next((i for i, own in enumerate(prefixes) if name.startswith(own)), len(prefixes))

        return {name: layer_id(name) for name, _ in self.named_parameters()}

    def gradient_checkpointing(self, enabled: bool = True) -> None:
        """In training, keep only what goes into each block, and compute it again for the backward pass.

        That takes less memory and about a third more time; gradients and statistics stay the same.
        """
        for module in self.modules():
            if isinstance(module, Recomputing):
                module.recompute = enabled

    def reset_head(self, num_classes: int) -> None:
        """Replace the layers that give logits by new ones for `num_classes` classes, initialised as in a new model.

        Raises:
            ConvsmithError: `num_classes` is not a whole number of at least 1.
        """
        check_counts(num_classes=num_classes)
        for path in self.heads:
            old = self._head_layer(path)
            device, dtype = old.weight.device, old.weight.dtype
            new: nn.Module
            if isinstance(old, nn.Linear):
                new = nn.Linear(old.in_features, num_classes, device=device, dtype=dtype)
            else:
                new = nn.Conv2d(old.in_channels, num_classes, 1, device=device, dtype=dtype)
            self.set_submodule(path, new)
            self._init_head(self._head_layer(path))

    def reorder_head(self, rows: Sequence[int]) -> None:
        """Put logit `rows[i]` of now in place i, in all heads."""
        with torch.no_grad():
            for path in self.heads:
                for parameter in self._head_layer(path).parameters():
                    parameter.copy_(parameter[list(rows)])

    def _init_head(self, layer: nn.Linear | nn.Conv2d) -> None:
        """Give a layer of logits its first weights, in a new model and in a new head: torch's, if no family's own."""

    def _check_images(self, x: Tensor) -> None:
        """Refuse what the network does not take; every `forward_features` begins with it."""
        channels, smallest = self.in_channels, self.smallest_side
        if x.ndim != 4:
            raise ConvsmithError(
                f"a tensor of shape {list(x.shape)} is not a batch of images",
                f"the model takes [N, {channels}, H, W]",
                "A single image becomes a batch by `image[None]`.",
            )
        if x.shape[1] != channels:
            raise ConvsmithError(
                f"the model takes {channels} channels, the images have {x.shape[1]}",
                fix=f"Create it with in_channels={x.shape[1]}.",
            )
        if not x.is_floating_point():
            raise ConvsmithError(
                f"the model takes normalised images, not {str(x.dtype).removeprefix('torch.')} values",
                fix="Normalise them first: (images / 255 - mean) / std, as convsmith.models.layers.Normalize does.",
            )
        height, width = x.shape[2:]
        if height < smallest or width < smallest:
            raise ConvsmithError(
                f"images of {height}x{width} pixels are too small for this {type(self).__name__}",
                fix=f"Give images of {smallest}x{smallest} pixels or more.",
            )

    def _children(self, *paths: str) -> list[tuple[str, ...]]:
        """Prefixes of the modules inside those at `paths`, a layer id each."""
        return [(f"{path}.{name}.",) for path in paths for name, _ in self.get_submodule(path).named_children()]

    def _head_layer(self, path: str) -> nn.Linear | nn.Conv2d:
        layer = self.get_submodule(path)
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        return layer


class ImageClassifier(VisionModel):
    """A network that maps images [N, C, H, W] to logits [N, K]: its one head is linear, on features [N, D]."""

    task = "classification"

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, K] from normalised images [N, C, H, W]."""
        logits: Tensor = self._head_layer(self.heads[-1])(self.forward_features(x))
        return logits


class StagedClassifier(ImageClassifier):
    """A classifier whose stages give maps that a decoder can work on."""

    stage_widths: tuple[int, ...]
    """Channels of the stages' maps, the first stage first."""
    head_options: ClassVar[frozenset[str]] = frozenset({"num_classes"})
    """Options that shape the classifier's head, and so mean nothing under a decoder."""
    decoded_options: ClassVar[Mapping[str, Any]] = {}
    """Options that begin at another value under a decoder."""

    @abstractmethod
    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """Maps [N, stage_widths[i], H_i, W_i], the first stage first, from images [N, C, H, W].

        Raises:
            ConvsmithError: as `forward_features`.
        """

    def keep_stages(self, used: Sequence[int]) -> None:  # noqa: ARG002  # each stage needs those before it
        """Become a backbone: leave out what follows the stages, so that every parameter that learns is used.

        Args:
            used: indices of the stages whose maps are used, the last one among them.
        """
        for path in self.heads:
            delattr(self, path.partition(".")[0])


class SegmentationModel(VisionModel):
    """A network that maps images [N, C, H, W] to one logit per class and pixel: its heads are 1x1 convolutions."""

    task = "segmentation"
    align_corners: bool = False
    """How bilinear upsampling places the corner pixels, in the network and of its logits."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Logits [N, K, H', W'], or a list of such maps, each of a size of its own, whose last is the prediction."""

    def segment(self, x: Tensor) -> Tensor:
        """The prediction at the images' own size: logits [N, K, H, W] from normalised images [N, C, H, W].

        It is the last map, upsampled bilinearly; that changes nothing where it has that size.
        """
        output = self(x)
        logits = output[-1] if isinstance(output, list) else output
        return F.interpolate(logits, x.shape[-2:], mode="bilinear", align_corners=self.align_corners)
