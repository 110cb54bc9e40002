"""Checkpoints into models."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from convsmith.errors import ConvsmithError
from convsmith.models.base import VisionModel
from convsmith.models.checkpoint_file import read_state_dict, some
from convsmith.models.official_names import around_backbone, auxiliary_heads, to_our_names

logger = logging.getLogger(__name__)

# What wrappers put before the names of a state dict, and what they save beside it: HRNet its loss, which has class
# weights; torch's average of a model the number of averaged steps.
_PREFIXES = ("module.", "_orig_mod.", "model.")
_BESIDE = ("loss.", "n_averaged")
_RANGES = "rounding."  # see fake_quant


@dataclass(frozen=True)
class LoadReport:
    """What `load_weights` did, as state-dict names of the model, or of the file where the model has no such name."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    """Entries of the model that the file lacks."""
    unexpected: tuple[str, ...]
    """Entries of the file that the model has no place for."""
    reshaped: tuple[str, ...]
    """Loaded entries that had another shape, such as a first convolution for another number of channels."""
    dropped: tuple[str, ...]
    """Entries of the file's heads that are for other classes or another task, or that only training needs."""

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} tensors loaded"]
        for name in ("missing", "unexpected", "reshaped", "dropped"):
            names = getattr(self, name)
            if names:
                parts.append(f"{len(names)} {name} ({some(names)})")
        return ", ".join(parts)


def load_weights(
    model: VisionModel,
    source: str | Path | Mapping[str, Any],
    key: str = "auto",
    strict: bool = True,
) -> LoadReport:
    """Load a checkpoint into `model`, in place: our own, or one of the official code, torchvision or timm.

    What cannot fit is adapted or left out, with a line in the log:

    - A head for another number of classes is dropped; the model keeps its own.
    - A first convolution for RGB is summed for 1 channel; for more it is repeated and scaled by 3 / C, which keeps the
      size of its sums.
    - A classifier, or its backbone alone, gives a segmentation model of ours its backbone. The layers of the
      segmentation head are then reported as missing and keep their initial values.

    The ranges of a model that was trained for INT8 are left out where the model has none.

    BatchNorm's `num_batches_tracked`, which old checkpoints lack, is not missed.

    Args:
        model: receives the weights.
        source: a `.safetensors` or torch file, a state dict, or a mapping that has one as an entry.
        key: entry that holds the state dict, such as `model_ema`; `auto` looks for it.
        strict: raise when, the cases above aside, names are missing or unexpected.

    Raises:
        ConvsmithError: the file is unreadable, would execute code, has no state dict of plain tensors, or does not fit.
    """
    where = str(source) if isinstance(source, str | Path) else "the state dict"
    own = model.state_dict()
    state = to_our_names(_unwrapped(read_state_dict(source, key), own), own)
    state = {name: tensor for name, tensor in state.items() if name in own or not name.startswith(_RANGES)}

    reshaped = _reshape(state, own, f"{model.input_layer}.weight", where)
    dropped = _drop_head(state, own, model.heads, where)
    wrong_shape = [name for name in own if name in state and state[name].shape != own[name].shape]
    if wrong_shape:
        name = wrong_shape[0]
        raise ConvsmithError(
            f"{where} does not fit this {type(model).__name__}",
            f"{len(wrong_shape)} tensors have another shape, the first is {name}: "
            f"{list(state[name].shape)} in the file, {list(own[name].shape)} in the model",
            "Create the model that the file was made for.",
        )
    auxiliary = auxiliary_heads(state, own)
    new_head, other_head = around_backbone(state, own)
    for name in (*auxiliary, *other_head):
        del state[name]

    usable = {name: tensor for name, tensor in state.items() if name in own}
    absent = (name for name in own if name not in usable and name not in dropped)
    missing = tuple(name for name in absent if not name.endswith("num_batches_tracked"))
    unexpected = tuple(name for name in state if name not in own)
    unexplained = [name for name in missing if name not in new_head]
    if not usable or (strict and (unexplained or unexpected)):
        raise ConvsmithError(
            f"{where} does not fit this {type(model).__name__}",
            f"{len(missing)} names are missing ({some(missing)}), {len(unexpected)} unexpected ({some(unexpected)})",
            "Create the model that the file was made for, or pass strict=False to load what fits.",
        )
    model.load_state_dict(usable, strict=False)
    if new_head:
        logger.warning(
            "%s is taken as a backbone: its %d entries that only classify are left out, and the model's own head "
            "(%s) keeps its initial values", where, len(other_head), some(missing),
        )  # fmt: skip
    return LoadReport(tuple(usable), missing, unexpected, reshaped, (*dropped, *auxiliary, *other_head))


def _reshape(state: dict[str, Tensor], own: Mapping[str, Tensor], input_weight: str, where: str) -> tuple[str, ...]:
    """Bring entries of `state` to the shapes of `own` where that is no guess; their names."""
    reshaped = []
    for name in own.keys() & state.keys():
        given, wanted = state[name], own[name].shape
        if given.shape == wanted:
            continue
        if _without_trailing_ones(given.shape) == _without_trailing_ones(wanted):
            # [C, 1, 1] for [C], and the 1x1 convolution that a linear layer is.
            state[name] = given.reshape(wanted)
        elif name == input_weight and given.shape[1:2] == (3,) and given[:, :1].shape == own[name][:, :1].shape:
            channels = wanted[1]
            repeated = given.repeat(1, -(-channels // 3), 1, 1)[:, :channels] * (3 / channels)
            state[name] = given.sum(1, keepdim=True) if channels == 1 else repeated
            how = "summed" if channels == 1 else f"repeated and scaled by 3/{channels}"
            logger.warning("%s: %s is for 3 channels, the model has %d; it was %s", where, name, channels, how)
        else:
            continue
        reshaped.append(name)
    return tuple(sorted(reshaped))


def _without_trailing_ones(shape: Sequence[int]) -> list[int]:
    sides = list(shape)
    while sides[-1:] == [1]:
        sides.pop()
    return sides


def _drop_head(
    state: dict[str, Tensor], own: Mapping[str, Tensor], heads: tuple[str, ...], where: str
) -> tuple[str, ...]:
    """Take the head out of `state` if it is for another number of classes; the names taken out."""
    head = {name for name in own if name.startswith(tuple(f"{path}." for path in heads))}
    found = sorted(head & state.keys())
    other = next((name for name in found if _differs_in_classes(state[name].shape, own[name].shape)), None)
    if other is None:
        return ()
    logger.warning(
        "%s: the head (%s) is for %d classes, the model has %d; the model keeps its own head",
        where, ", ".join(found), state[other].shape[0], own[other].shape[0],
    )  # fmt: skip
    for name in found:
        del state[name]
    return tuple(found)


def _differs_in_classes(given: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether two layers that give logits differ in the number of logits, and in nothing else."""
    same_input = _without_trailing_ones(given[1:]) == _without_trailing_ones(wanted[1:])
    return same_input and len(given) > 0 and given[0] != wanted[0]


def _unwrapped(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` without what wrappers put before the names of `own`, in whatever order they wrapped."""
    for prefix in _PREFIXES:
        inside = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        beside = all(name.startswith((prefix, *_BESIDE)) for name in state)
        if inside and beside and not any(name.startswith(prefix) for name in own):
            return _unwrapped(inside, own)
    return state
