"""Weights of models on the Hugging Face Hub, and what is said of them there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from convsmith.errors import ConvsmithError
from convsmith.hub import hub_file

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def hub_weights(name: str) -> Path:
    """The weights of a model on the Hub, downloaded to the cache of huggingface_hub unless they are there.

    Raises:
        ConvsmithError: they cannot be had, or huggingface_hub is not installed.
    """
    for file in _WEIGHTS:
        if found := _file(name, file):
            return found
    raise ConvsmithError(
        f"`{name}` holds no weights", f"it has neither {' nor '.join(_WEIGHTS)}", "Give the path of a checkpoint file."
    )


def hub_config(name: str) -> dict[str, Any]:
    """The `config.json` of a model on the Hub; empty where it has none, or no mapping.

    Raises:
        ConvsmithError: it cannot be had.
    """
    file = _file(name, "config.json")
    try:
        config = json.loads(file.read_bytes()) if file else {}
    except (ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def _file(name: str, file: str) -> Path | None:
    fix = f"Where there is a network, `convsmith weights fetch {name}` brings them. Or give the path of a file."
    return hub_file(name, file, "the weights", fix)
