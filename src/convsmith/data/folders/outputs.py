"""Folders that convsmith wrote are not data, wherever they lie; and it writes none where they would become data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from convsmith.bundle.format import MANIFEST
from convsmith.bundle.images.open_image import IMAGE_SUFFIXES
from convsmith.errors import ConvsmithError, printable
from convsmith.waiting import answer_of

_MARKS = (  # all files of a line are there
    (MANIFEST,),
    ("recipe.yaml", "plan.json"),
    ("chosen.json",),  # a run that has not begun
    (".lock", "log.txt"),  # another
    ("lr_find.json",),
    ("profile.json", "trace.json"),
    ("ablation.json",),
    ("run/plan.json", "digits/train"),  # the demo
    ("run/plan.json", "digit-scenes/masks"),
)
_DEPTH = 4  # of folders that hold nothing else, such as runs/ladder/step
_OVERLAY = ".overlay.jpg"

Content = Literal["output", "data", "nothing"]


def is_output(directory: Path) -> bool:
    """Whether convsmith wrote a folder (a run, a bundle, masks, a measurement), or it holds no other images."""
    return _content(directory, _DEPTH) == "output"


def _is_marked(directory: Path) -> bool:
    """Whether the files of a folder say that convsmith wrote it."""
    folder = os.fspath(directory)  # there may be thousands of them
    return any(all(os.path.exists(f"{folder}/{name}") for name in names) for names in _MARKS)  # noqa: PTH110


def refuse_output_in_data(out: Path, data: Path) -> None:
    """Raise a ConvsmithError if what is written to `out` would be taken for data afterwards.

    Folders beside the data's own are left out later; those inside a class or a part of the data are refused, and so is
    the data folder itself. Where `out` has been written before, it stays.
    """
    out, data = (answer_of(path.resolve, printable(path)) for path in (out, data))
    if not out.is_relative_to(data) or _is_marked(out):
        return
    inside = out.relative_to(data)
    if not inside.parts or _content(data / inside.parts[0], _DEPTH) == "data":
        raise ConvsmithError(
            f"{printable(out)} lies among the images of {printable(data)}",
            "what is written there would be taken for images of a class",
            "Choose a folder elsewhere with --out.",
        )


def _content(directory: Path, depth: int) -> Content:
    if _is_marked(directory):
        return "output"
    folders: list[Path] = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    folders.append(Path(entry.path))
                elif Path(entry.name).suffix.lower() in IMAGE_SUFFIXES:
                    return "output" if _is_prediction(Path(entry.path)) else "data"
    except OSError:  # whoever reads it says why it cannot be read
        return "nothing"
    if folders and not depth:
        return "data"
    found = {_content(folder, depth - 1) for folder in folders}
    return "data" if "data" in found else "output" if "output" in found else "nothing"


def _is_prediction(image: Path) -> bool:
    """Whether a file is a mask, or its overlay, that `predict` wrote: with two others of its name."""
    stem = image.name.removesuffix(_OVERLAY) if image.name.endswith(_OVERLAY) else image.stem
    return all((image.parent / f"{stem}{end}").exists() for end in (".png", _OVERLAY, ".json"))
