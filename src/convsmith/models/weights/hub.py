"""Files of models on the Hugging Face Hub, by the name `hf:ORG/NAME`, or `hf:ORG/NAME@REVISION`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from convsmith.errors import ConvsmithError, missing_package
from convsmith.models.weights.download import OFFLINE, is_offline

HUB = "hf:"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def keep_hub_offline() -> None:
    """Let huggingface_hub, and all that use it in this process, take nothing but what is in its cache."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    if (constants := sys.modules.get("huggingface_hub.constants")) is not None:  # which has read it already
        vars(constants)["HF_HUB_OFFLINE"] = True


def hub_file(name: str) -> Path:
    """The weights of a model on the Hub, downloaded to the cache of huggingface_hub unless they are there.

    Raises:
        ConvsmithError: they cannot be had, or huggingface_hub is not installed.
    """
    for file in _WEIGHTS:
        if found := _download(name, file):
            return found
    raise ConvsmithError(
        f"`{name}` holds no weights", f"it has neither {' nor '.join(_WEIGHTS)}", "Give the path of a checkpoint file."
    )


def hub_config(name: str) -> dict[str, Any]:
    """The `config.json` of a model on the Hub; empty where it has none, or no mapping.

    Raises:
        ConvsmithError: it cannot be had.
    """
    file = _download(name, "config.json")
    try:
        config = json.loads(file.read_bytes()) if file else {}
    except (ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def _download(name: str, file: str) -> Path | None:
    """A file of the model's; None where it has none of that name."""
    if is_offline():
        keep_hub_offline()
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    except ModuleNotFoundError as error:
        raise missing_package(error) or error from error
    repository, _, revision = name.removeprefix(HUB).partition("@")
    try:
        found = hf_hub_download(repository, file, revision=revision or None, local_files_only=is_offline())
    except LocalEntryNotFoundError as error:  # neither here nor reached
        why = OFFLINE if is_offline() else str(error).split("\n")[0]
        raise _not_had(name, why) from error
    except EntryNotFoundError:
        return None
    except (OSError, ValueError) as error:  # ValueError: such a name cannot be
        raise _not_had(name, str(error).split("\n")[0]) from error
    return Path(found)


def _not_had(name: str, why: str) -> ConvsmithError:
    return ConvsmithError(
        f"the weights `{name}` cannot be had from the Hugging Face Hub",
        why,
        f"Where there is a network, `convsmith weights fetch {name}` brings them. Or give the path of a file.",
    )
