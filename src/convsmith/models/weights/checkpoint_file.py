"""State dicts out of files and mappings, wherever in them they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from convsmith.errors import ConvsmithError, did_you_mean
from convsmith.models.weights.torch_file import Skipped, executes, load_torch_file, unreadable

# Where training code keeps the state dict, the weights as trained before their average.
_STATE_DICT_KEYS = ("state_dict", "model", "model_state_dict", "module", "model_ema")
_DEEPEST = 4
BY_KEY = "Name the right one with model.weights_key=NAME; in Python, with `key` of load_weights."


def read_state_dict(source: object, key: str = "auto") -> dict[str, Tensor]:
    """The state dict of a `.safetensors` or torch checkpoint file, on the CPU, or of a mapping.

    Args:
        source: the file's path, or a mapping such as a file holds.
        key: entry that holds the state dict, such as `model_ema` or `checkpoint.model`, or what the names of the wanted
            tensors begin with, such as `student`; `auto` takes the usual entry, else the only one there is.

    Raises:
        ConvsmithError: the file is unreadable or would execute code, or there is no state dict of plain tensors, or
            there are several.
    """
    if isinstance(source, Mapping):
        return _find_state_dict(source, "what was given", key)
    if not isinstance(source, str | Path):
        fix = "Pass its `state_dict()`." if isinstance(source, torch.nn.Module) else ""
        raise ConvsmithError(f"a {type(source).__name__} is neither a checkpoint file nor a state dict", fix=fix)
    path = Path(source)
    if not path.is_file():
        raise ConvsmithError(f"there is no checkpoint file {path}", fix="Check the path.")
    if path.suffix != ".safetensors":
        return _find_state_dict(load_torch_file(path), str(path), key)
    try:
        return _find_state_dict(load_file(path), str(path), key)
    except (SafetensorError, OSError) as error:
        raise unreadable(path, error) from error


def _find_state_dict(content: Any, where: str, key: str) -> dict[str, Tensor]:
    found = _only_state_dict(content, where) if key == "auto" else _entry(content, where, key)
    if isinstance(found, Skipped) and key == "auto":
        raise executes(where, f"it holds the Python object `{found.kind}`")
    if not isinstance(found, Mapping) or not any(isinstance(value, Tensor) for value in found.values()):
        what = "nothing in it maps" if key == "auto" else f"its `{key}` does not map"
        raise ConvsmithError(
            f"no state dict was found in {where}", f"{what} names to tensors", "" if key == "auto" else BY_KEY
        )
    for name, value in found.items():
        if reason := _unusable(name, value):
            raise ConvsmithError(
                f"the state dict in {where} cannot be used",
                f"its entry `{name}` {reason}",
                "Name another one with model.weights_key (in Python, `key` of load_weights), or convert the tensors.",
            )
    # beside tensors, training code keeps numbers and texts there
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def _only_state_dict(content: Any, where: str) -> Any:
    """The usual entry, `content` itself, or the only entry that maps names of layers to tensors."""
    if not isinstance(content, Mapping):
        return content
    usual = next((content[key] for key in _STATE_DICT_KEYS if isinstance(content.get(key), Mapping)), None)
    if usual is not None:
        return usual if _names_layers(usual) else _only_state_dict(usual, where)
    candidates = {} if _names_layers(content) else dict(_state_dicts(content, "", _DEEPEST))
    if len(candidates) > 1:
        raise ConvsmithError(f"{where} holds several state dicts", f"they are {some(tuple(candidates))}", BY_KEY)
    models = (content[key] for key in _STATE_DICT_KEYS if isinstance(content.get(key), Skipped))
    return next(iter(candidates.values()), next(models, content))


def _state_dicts(content: Mapping[Any, Any], path: str, depth: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every entry, however deep, that is a state dict, by its path; an optimizer's has numbers for names."""
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Mapping):
            continue
        if _names_layers(value):
            yield f"{path}{key}", value
        elif depth:
            yield from _state_dicts(value, f"{path}{key}.", depth - 1)


def _names_layers(content: Mapping[Any, Any]) -> bool:
    """Whether it maps names such as `conv1.weight` to tensors."""
    return any(isinstance(name, str) and "." in name and isinstance(it, Tensor) for name, it in content.items())


def _entry(content: Any, where: str, key: str) -> Any:
    """The entry of that path, or the tensors whose names begin so."""
    here = content
    for step in [key] if isinstance(content, Mapping) and key in content else key.split("."):
        here = here.get(step) if isinstance(here, Mapping) else None
    if here is not None:
        return here
    for place in (content, *(content.get(usual) for usual in _STATE_DICT_KEYS if isinstance(content, Mapping))):
        named = place.items() if isinstance(place, Mapping) else ()
        part = {name[len(key) + 1 :]: it for name, it in named if isinstance(name, str) and name.startswith(f"{key}.")}
        if part:
            return part
    names = tuple(map(str, content)) if isinstance(content, Mapping) else ()
    raise ConvsmithError(
        f"{where} has no entry `{key}`{did_you_mean(key, names)}",
        f"its entries are: {some(names)}",
        "Set model.weights_key to one of them, or leave it out.",
    )


def _unusable(name: object, value: object) -> str | None:
    """Why an entry of a state dict is an error: it has values, but they cannot be copied."""
    if not isinstance(value, Tensor):
        kind = type(value).__name__
        return f"is not a tensor but a {kind}" if kind == "ndarray" else None
    if not isinstance(name, str):
        return "is not named by a string"
    if value.layout != torch.strided:
        return f"is a sparse tensor ({value.layout})"
    if value.is_quantized:
        return f"is quantized ({value.dtype})"
    if value.is_complex():
        return f"is complex ({value.dtype})"
    return "is on the meta device: it has no values" if value.is_meta else None


def some(names: tuple[str, ...]) -> str:
    """The first of `names`, for a message."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") if names else "none"
