"""Checkpoints that survive a crash at any moment, and say so when they did not."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from convsmith.errors import ConvsmithError
from convsmith.storage import new_directory, point_to, seal_holds, sealed, sha256_of
from convsmith.waiting import NotAFile, read_file

logger = logging.getLogger(__name__)


class DamagedCheckpoint(ConvsmithError):
    """A checkpoint whose content is not what was written."""


WEIGHTS = frozenset({"model", "ema"})
"""The files of a checkpoint whose values are a model's."""


@dataclass(frozen=True)
class Checkpoint:
    """The state after one step: named sets of tensors (model, ema, optimizer) and the JSON state beside them."""

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
        tensors: file name to state dict, of contiguous tensors.
        state: what else a resume needs, as JSON.
    """
    with new_checkpoint(folder, step, state) as place:
        for name, values in tensors.items():
            _save_file(values, place / f"{name}.safetensors")


def _save_file(values: Mapping[str, Tensor], file: Path) -> None:
    """Raise what the system says as an OSError, which safetensors only mentions."""
    try:
        save_file(dict(values), file)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(file)) from error


@contextmanager
def new_checkpoint(folder: Path, step: int, state: Mapping[str, Any]) -> Iterator[Path]:
    """A folder for files of tensors, which becomes `folder/step-XXXXXXXX` with the state and their checksums."""
    with new_directory(step_folder(folder, step)) as temporary:
        yield temporary
        checksums = {file.name: sha256_of(file) for file in sorted(temporary.iterdir())}
        content = sealed({**state, "step": step, "files": checksums})
        (temporary / "state.json").write_text(json.dumps(content, indent=1))


def set_aside_after(folder: Path, step: int) -> None:
    """Rename checkpoints of later steps, which cannot be gone on from, so that they no longer count as checkpoints."""
    for path in _steps(folder):
        if path.name > step_folder(folder, step).name:
            place = path.with_name(f"damaged-{path.name}")
            shutil.rmtree(place, ignore_errors=True)
            path.replace(place)


def tidy(folder: Path, best_step: int | None, keep: int) -> None:
    """Point `last` and `best` where they belong, and remove all but the newest `keep` checkpoints and the best.

    One that cannot be removed is a warning: all that is written is well.
    """
    steps = _steps(folder)
    point_to(folder / "last", steps[-1].name)
    best = step_folder(folder, best_step) if best_step is not None else None
    if best:
        point_to(folder / "best", best.name)
    for old in steps[:-keep]:
        if old != best:
            try:
                shutil.rmtree(old)
            except OSError as error:
                logger.warning("the old checkpoint %s cannot be removed (%s)", old, error.strerror or error)


def step_folder(folder: Path, step: int) -> Path:
    """Where the checkpoint after `step` optimizer steps is."""
    return folder / f"step-{step:08d}"


def best_step_folder(folder: Path) -> Path:
    """Where the best checkpoint is: by the link `best`, or by the newest state where copying has lost the links."""
    link = folder / "best"
    if link.is_dir():  # some programs that copy make it a file with the text of the link
        return link
    for newest in _steps(folder)[::-1]:
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            return step_folder(folder, json.loads(read_file(newest / "state.json"))["best_step"])
    return link


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole, None where there is none; a warning names damaged ones that are newer.

    Raises:
        ConvsmithError: there are checkpoints, but not one is whole.
    """
    candidates = _steps(folder)[::-1]
    for path in candidates:
        try:
            return read_checkpoint(path)
        except DamagedCheckpoint as error:
            logger.warning("%s is passed over: %s", path.name, error.why)
    if candidates:
        raise ConvsmithError(
            f"no checkpoint in {folder} can be used", "every one is damaged", "Start again in another run directory."
        )
    return None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read and verify one checkpoint.

    Raises:
        DamagedCheckpoint: a file is missing, its content is not what was written, or weights are not finite.
        ConvsmithError: a file cannot be read at present.
    """
    try:
        state = json.loads(read_file(path / "state.json"))
        if not isinstance(state, dict) or not seal_holds(state) or not isinstance(state.get("files"), dict):
            raise ValueError("state.json is not what was written")
        tensors = {}
        for name, checksum in state["files"].items():
            if sha256_of(path / name) != checksum:
                raise ValueError(f"{name} is not what was written")
            kind = name.removesuffix(".safetensors")
            tensors[kind] = load_file(path / name)
            if kind in WEIGHTS and (bad := _first_not_finite(tensors[kind])):
                raise ValueError(f"{name} has values of `{bad}` that are not finite numbers")
    except (FileNotFoundError, IsADirectoryError, NotAFile, ValueError, RecursionError, SafetensorError) as error:
        raise DamagedCheckpoint(f"the checkpoint {path} is damaged", str(error)) from error
    except OSError as error:
        raise ConvsmithError(f"the checkpoint {path} cannot be read", str(error), "Try again.") from error
    return Checkpoint(path.resolve(), tensors, state)


def _first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    return next(
        (name for name, it in tensors.items() if it.is_floating_point() and not bool(it.isfinite().all())), None
    )


def _steps(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if re.fullmatch(r"step-\d{8,}", path.name) and path.is_dir())
