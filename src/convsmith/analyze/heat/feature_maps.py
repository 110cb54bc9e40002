"""The maps that a model makes of images before its head, whichever library it is of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import ceil, sqrt
from typing import Any

from torch import Tensor, nn

from convsmith.models.base import VisionModel
from convsmith.spec import Size


@contextmanager
def maps_before_head(model: VisionModel) -> Iterator[list[Tensor]]:
    """Note, while the model runs, what its modules give before the part that holds its head, in the order of the calls.

    What a linear layer gives is left out: it is a projection that is yet to be used, not a feature.
    """
    head = model.heads[-1]
    root = model.get_submodule(model.head_prefixes[-1].removesuffix(f"{head}.").rstrip("."))
    part = root.get_submodule(head.partition(".")[0])
    inside, found, reached = set(part.modules()), list[Tensor](), False

    def note(module: nn.Module, _inputs: Any, output: Any) -> None:
        if not reached and not isinstance(module, nn.Linear):
            found.extend(_tensors(output))

    def stop(_module: nn.Module, inputs: Any) -> None:
        nonlocal reached
        if not reached:
            found.extend(_tensors(inputs))
            reached = True

    handles = [it.register_forward_hook(note) for it in root.modules() if it is not root and it not in inside]
    handles.append(part.register_forward_pre_hook(stop))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for it in value.values():
            yield from _tensors(it)
    elif isinstance(value, list | tuple):
        for it in value:
            yield from _tensors(it)


def as_map(features: Tensor, size: Size, batch: int, prefix: int = 0, *, slack: int = 0) -> Tensor | None:
    """Features in the form [N, C, h, w], where they have a place for each part of the images; None for others.

    They may be [N, C, h, w], [N, h, w, C], or tokens [N, h * w, C] or [N, prefix + h * w, C].

    Args:
        features: what a module gives.
        size: height and width of the images.
        batch: N, how many there are.
        prefix: tokens before those of places, such as that of a class.
        slack: how many rows and columns a map may lack, or have beside, of what a step over the image gives:
            convolutions without padding lose some.
    """
    if len(features) != batch or not features.is_floating_point():
        return None
    if features.ndim == 4:
        if _is_grid((features.shape[2], features.shape[3]), size, slack):
            return features
        last = features.shape[3] > 1 and _is_grid((features.shape[1], features.shape[2]), size, slack)
        return features.permute(0, 3, 1, 2) if last else None
    if features.ndim == 3:
        for before in sorted({prefix, 0}, reverse=True):
            places = features.shape[1] - before
            height = round(sqrt(max(places, 0) * size[0] / size[1]))
            if height and places % height == 0 and _is_grid((height, places // height), size, slack):
                return features[:, before:].transpose(1, 2).reshape(batch, -1, height, places // height)
    return None


def _is_grid(grid: tuple[int, int], size: Size, slack: int) -> bool:
    """Whether a grid of more than one place may lie over an image: some step along both sides makes it."""
    if grid[0] * grid[1] < 2 or (slack and min(grid) <= slack):
        return False
    sides = list(zip(grid, size, strict=True))
    return any(
        all(side // step - slack <= count <= ceil(side / step) + slack for count, side in sides)
        for step in range(1, max(size) + 1)
    )
