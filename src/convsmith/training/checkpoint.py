"""Checkpoints that survive a crash at any moment, and say so when they did not."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from convsmith.errors import ConvsmithError
from convsmith.storage import new_directory, point_to, seal_holds, sealed, sha256_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """What one step left: named sets of tensors (model, ema, optimizer) and the JSON state beside them."""

    path: Path
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


def save_checkpoint(
    folder: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
) -> None:
    """Write `folder/step-XXXXXXXX`.

    Args:
        folder: the run's checkpoint folder.
        step: optimizer steps done.
        tensors: file name to state dict.
        state: what else a resume needs, as JSON.
    """
    with new_directory(step_folder(folder, step)) as temporary:
        checksums = {}
        for name, values in tensors.items():
            file = temporary / f"{name}.safetensors"
            save_file({key: value.contiguous() for key, value in values.items()}, file)
            checksums[file.name] = sha256_of(file)
        content = sealed({**state, "step": step, "files": checksums})
        (temporary / "state.json").write_text(json.dumps(content, indent=1))


def tidy(folder: Path, best_step: int | None, keep: int) -> None:
    """Point `last` and `best` where they belong, and remove all but the newest `keep` checkpoints and the best."""
    steps = _steps(folder)
    point_to(folder / "last", steps[-1].name)
    best = step_folder(folder, best_step) if best_step is not None else None
    if best:
        point_to(folder / "best", best.name)
    for old in steps[:-keep]:
        if old != best:
            shutil.rmtree(old)


def step_folder(folder: Path, step: int) -> Path:
    """Where the checkpoint after `step` optimizer steps is."""
    return folder / f"step-{step:08d}"


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole, None where there is none. Damaged ones are removed, with a warning.

    Raises:
        ConvsmithError: there are checkpoints, but not one is whole.
    """
    damaged: list[Path] = []
    found = None
    for path in _steps(folder)[::-1]:
        try:
            found = read_checkpoint(path)
            break
        except ConvsmithError as error:
            logger.warning("%s is passed over: %s", path.name, error.why)
            damaged.append(path)
    if damaged and found is None:
        raise ConvsmithError(
            f"no checkpoint in {folder} can be used", "every one is damaged", "Start again in another run directory."
        )
    for path in damaged:  # their steps will be done again
        shutil.rmtree(path)
    return found


def read_checkpoint(path: Path) -> Checkpoint:
    """Read and verify one checkpoint.

    Raises:
        ConvsmithError: a file is missing or its content is not what was written.
    """
    try:
        state = json.loads((path / "state.json").read_text())
        if not isinstance(state, dict) or not seal_holds(state):
            raise ValueError("state.json is not what was written")
        tensors = {}
        for name, checksum in state["files"].items():
            if sha256_of(path / name) != checksum:
                raise ValueError(f"{name} is not what was written")
            tensors[name.removesuffix(".safetensors")] = load_file(path / name)
    except (OSError, ValueError, SafetensorError) as error:
        raise ConvsmithError(f"the checkpoint {path} is damaged", str(error)) from error
    return Checkpoint(path.resolve(), tensors, state)


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))
