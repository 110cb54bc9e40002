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
from convsmith.models.weights.checkpoint_file import read_state_dict, some
from convsmith.models.weights.fit_names import find_head, is_counter, unwrapped
from convsmith.models.weights.official_names import around_backbone, auxiliary_heads

logger = logging.getLogger(__name__)

_RANGES = "rounding."  # see fake_quant
_PROFILED = (".total_ops", ".total_params")  # what the profiler thop leaves in every layer


@dataclass(frozen=True)
class LoadReport:
    """The outcome of `load_weights`, as state-dict names of the model, or of the file where the model has none."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    """Entries of the model that the file lacks."""
    unexpected: tuple[str, ...]
    """Entries of the file that the model has no place for."""
    reshaped: tuple[str, ...]
    """Loaded entries that had another shape, such as a first convolution for another number of channels."""
    dropped: tuple[str, ...]
    """Entries of the file's heads that are for other classes or another task, that only training needs, or that are no
    part of the network."""

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
      size of its sums (timm's `adapt_input_conv`).
    - A classifier, or its backbone alone, gives a segmentation model of ours its backbone, as one with another head
      does. The layers of the head are then reported as missing and keep their initial values.
    - So does the head of a model whose file has none.
    - What lies beside the network, such as a loss or a second network, is left out.

    Around the names there may be whatever wrapped the model, such as `module.` or `backbone.`; the layer of logits may
    have another name, such as `head.fc`.

    The ranges of a model that was trained for INT8 are left out where the model has none.

    BatchNorm's `num_batches_tracked`, which old checkpoints lack, is not missed.

    Args:
        model: receives the weights.
        source: a `.safetensors` or torch file, a state dict, or a mapping that has one as an entry.
        key: entry that holds the state dict, such as `model_ema`, or what its names begin with, such as `student`;
            `auto` looks for it.
        strict: raise when, the cases above aside, names are missing or unexpected.

    Raises:
        ConvsmithError: the file is unreadable, would execute code, has no state dict of plain tensors or several,
            does not fit, or holds values that are not finite.

    Examples:
        >>> model = cs.create_model("cifar_resnet20", num_classes=3)
        >>> report = cs.load_weights(model, cs.create_model("cifar_resnet20").state_dict())
        >>> len(report.loaded), report.dropped
        (114, ('linear.bias', 'linear.weight'))
    """
    where = str(source) if isinstance(source, str | Path) else "the state dict"
    own = model.state_dict()
    state, beside = unwrapped(read_state_dict(source, key), own, model.heads, where)
    find_head(state, beside, own, model.heads)
    state = {
        name: it
        for name, it in state.items()
        if name in own or not (name.startswith(_RANGES) or name.endswith(_PROFILED))
    }

    new_head, other_head = around_backbone(state, own)
    for name in other_head:
        del state[name]
    reshaped = _reshape(state, own, model.in_channels, where)
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
    head = tuple(f"{path}." for path in model.heads)
    if not (new_head or dropped) and not any(name.startswith(head) for name in own.keys() & state.keys()):
        new_head = [name for name in own if name.startswith(head)]
    usable = {name: tensor for name, tensor in state.items() if name in own}
    absent = [name for name in own if name not in usable and name not in dropped and not is_counter(name)]
    unexplained = [name for name in absent if name not in new_head]
    surplus = [name for name in state if name not in own and name not in auxiliary]
    parts = {name.partition(".")[0] for name in own}
    # where the network is whole, what lies beside it is not part of it
    left_out = [it for it in surplus if it.partition(".")[0] not in parts or it.startswith(head)]
    left_out = [] if unexplained else left_out
    unexpected = tuple(name for name in surplus if name not in left_out)
    left_out = [*beside, *left_out]
    if not usable or (strict and (unexplained or unexpected)):
        raise _misfit(model, where, own=own, usable=usable, absent=absent, surplus=(*unexpected, *left_out))
    _check_finite(usable, own, where)
    model.load_state_dict(usable, strict=False)
    _tell(where, absent, new_head, other_head, left_out)
    return LoadReport(
        tuple(usable), tuple(absent), unexpected, reshaped, (*dropped, *auxiliary, *other_head, *left_out)
    )


def _misfit(
    model: VisionModel, where: str, *, own: Mapping[str, Tensor], usable: Mapping[str, Tensor], absent: Sequence[str],
    surplus: tuple[str, ...],
) -> ConvsmithError:  # fmt: skip
    what = f"{where} does not fit this {type(model).__name__}"
    fix = "Choose the model that the file was made for, or a file of this model."
    if not usable:
        why = f"they have no name in common: the file has {some(surplus)}, the model {some(tuple(own))}"
        return ConvsmithError(what, why, fix)
    counts = f"{len(absent)} names are missing ({some(tuple(absent))}), {len(surplus)} unexpected ({some(surplus)})"
    return ConvsmithError(what, counts, fix)


def _check_finite(usable: Mapping[str, Tensor], own: Mapping[str, Tensor], where: str) -> None:
    """Raise a ConvsmithError if a value that is loaded is not a finite number."""
    for name, tensor in usable.items():
        bad = (~tensor.to(own[name].dtype).isfinite()).sum().item()
        if bad:
            raise ConvsmithError(
                f"the weights in {where} are damaged",
                f"{bad:,} of the {tensor.numel():,} values of `{name}` are not finite numbers",
                "Take a checkpoint from before the training diverged.",
            )


def _tell(
    where: str, absent: Sequence[str], new_head: Sequence[str], other: Sequence[str], left_out: list[str]
) -> None:
    """Log what was not loaded."""
    names = some(tuple(name for name in absent if name in new_head))
    if new_head and other:
        logger.warning(
            "%s is taken as a backbone: its %d entries that only classify are left out, and the model's own head "
            "(%s) keeps its initial values", where, len(other), names,
        )  # fmt: skip
    elif new_head:
        logger.warning(
            "%s: there is no head for this model; the model keeps its own head (%s), untrained", where, names
        )
    if left_out:
        logger.warning(
            "%s: what is not part of the model is left out, %d of its entries (%s)",
            where,
            len(left_out),
            some(tuple(left_out)),
        )


def _reshape(state: dict[str, Tensor], own: Mapping[str, Tensor], channels: int, where: str) -> tuple[str, ...]:
    """Bring entries of `state` to the shapes of `own` where that needs no guess; their names.

    Some networks see the image in several convolutions: each that is for RGB becomes one for `channels`.
    """
    reshaped = []
    for name in own.keys() & state.keys():
        given, wanted = state[name], own[name].shape
        if given.shape == wanted:
            continue
        if _without_trailing_ones(given.shape) == _without_trailing_ones(wanted):
            # [C, 1, 1] for [C], and the 1x1 convolution that a linear layer is.
            state[name] = given.reshape(wanted)
        elif given.ndim == 4 and given.shape[1] == 3 and wanted == (len(given), channels, *given.shape[2:]):
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
