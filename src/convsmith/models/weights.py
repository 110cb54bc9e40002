"""Checkpoint files into models, without ever executing what a file says."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from convsmith.errors import ConvsmithError
from convsmith.models.base import VisionModel

logger = logging.getLogger(__name__)

# Where official checkpoints keep the state dict, and what wrappers put before its names.
_STATE_DICT_KEYS = ("state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.", "model.")


@dataclass(frozen=True)
class LoadReport:
    """What `load_weights` did, as state-dict names."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} tensors loaded"]
        for name in ("missing", "unexpected", "dropped"):
            names = getattr(self, name)
            if names:
                parts.append(f"{len(names)} {name} ({_some(names)})")
        return ", ".join(parts)


def load_weights(
    model: VisionModel,
    source: str | Path | Mapping[str, Tensor],
    key: str = "auto",
    strict: bool = True,
) -> LoadReport:
    """Load a checkpoint into `model`, in place.

    A head for another number of classes is dropped (with a line in the log), so that the model keeps its own.
    BatchNorm's `num_batches_tracked`, which old checkpoints lack, is not missed.

    Args:
        model: receives the weights.
        source: a `.safetensors` or torch file, or a state dict.
        key: entry of the torch file that holds the state dict; `auto` looks for it.
        strict: raise when, the dropped head aside, names are missing or unexpected.

    Raises:
        ConvsmithError: the file is unreadable, would execute code, has no state dict, or does not fit.
    """
    where = str(source) if isinstance(source, str | Path) else "the state dict"
    state = read_state_dict(source, key) if isinstance(source, str | Path) else dict(source)
    own = model.state_dict()
    state = _unwrapped(state, own)

    head = {name for name in own if name.startswith(tuple(f"{path}." for path in model.heads))}
    misfits = [name for name in own if name in state and state[name].shape != own[name].shape]
    dropped = sorted(head & state.keys()) if head.intersection(misfits) else []
    wrong_shape = [name for name in misfits if name not in dropped]
    if wrong_shape:
        name = wrong_shape[0]
        raise ConvsmithError(
            f"{where} does not fit this {type(model).__name__}",
            f"{len(wrong_shape)} tensors have another shape, the first is {name}: "
            f"{list(state[name].shape)} in the file, {list(own[name].shape)} in the model",
            "Create the model that the file was made for.",
        )
    usable = {name: tensor for name, tensor in state.items() if name in own and name not in dropped}
    absent = (name for name in own if name not in usable and name not in dropped)
    missing = tuple(name for name in absent if not name.endswith("num_batches_tracked"))
    unexpected = tuple(name for name in state if name not in own)
    if not usable or (strict and (missing or unexpected)):
        raise ConvsmithError(
            f"{where} does not fit this {type(model).__name__}",
            f"{len(missing)} names are missing ({_some(missing)}), {len(unexpected)} unexpected ({_some(unexpected)})",
            "Create the model that the file was made for, or pass strict=False to load what fits.",
        )
    model.load_state_dict(usable, strict=False)
    if dropped:
        logger.warning(
            "%s: the head (%s) is for %d classes, the model has %d; the model keeps its own head",
            where, ", ".join(dropped), state[dropped[0]].shape[0], own[dropped[0]].shape[0],
        )  # fmt: skip
    return LoadReport(tuple(usable), missing, unexpected, tuple(dropped))


def read_state_dict(path: str | Path, key: str = "auto") -> dict[str, Tensor]:
    """The state dict of a `.safetensors` or torch checkpoint file, on the CPU.

    Raises:
        ConvsmithError: as for `load_weights`.
    """
    path = Path(path)
    if not path.is_file():
        raise ConvsmithError(f"there is no checkpoint file {path}", fix="Check the path.")
    if path.suffix == ".safetensors":
        if key != "auto":
            raise ConvsmithError(
                f"{path} has no entry `{key}`", "a safetensors file is one state dict", "Leave out the key."
            )
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise ConvsmithError(f"{path} is not a readable safetensors file", str(error)) from error
    return _find_state_dict(_load_torch_file(path), path, key)


def _load_torch_file(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ConvsmithError(
            f"{path} was not loaded",
            "it is no torch checkpoint, or it holds Python objects that loading would have to execute",
            "Save its state dict alone, in an environment that trusts the file, and load that.",
        ) from error
    except Exception as error:  # torch raises many types on damaged files
        raise ConvsmithError(f"{path} is not a readable torch checkpoint", str(error).split("\n")[0]) from error


def _find_state_dict(content: Any, path: Path, key: str) -> dict[str, Tensor]:
    if key != "auto":
        if not isinstance(content, Mapping) or key not in content:
            names = ", ".join(map(str, content)) if isinstance(content, Mapping) else "none"
            raise ConvsmithError(f"{path} has no entry `{key}`", f"its entries are: {names}")
        content = content[key]
    elif isinstance(content, Mapping):
        content = next((content[k] for k in _STATE_DICT_KEYS if isinstance(content.get(k), Mapping)), content)
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ConvsmithError(
            f"no state dict was found in {path}",
            f"neither the file itself nor its entry {' or '.join(_STATE_DICT_KEYS)} maps names to tensors",
            "Name the right entry with key=...",
        )
    return dict(content)


def _unwrapped(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        inside = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        outside = [name for name in state if not name.startswith(prefix)]
        # HRNet saves its loss, which has class weights, beside the model.
        only_a_loss = all(name.startswith("loss.") for name in outside)
        if inside and only_a_loss and not any(name.startswith(prefix) for name in own):
            state = inside
    return state


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") if names else "none"
