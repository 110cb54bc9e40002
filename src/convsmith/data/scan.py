"""Reading folders: which entries are images, which are folders, and which are neither.

Names are text as `os.fsdecode` makes it, so any bytes survive the way back to the file system.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from convsmith.bundle.decode import IMAGE_SUFFIXES
from convsmith.data.index import printable
from convsmith.errors import ConvsmithError


@dataclass
class Listing:
    """What one folder holds directly, hidden names aside."""

    folders: list[str] = field(default_factory=list)  # sorted by their bytes
    images: list[str] = field(default_factory=list)  # in the file system's order
    others: Counter[str] = field(default_factory=Counter)  # files that are not images, by kind


def list_folder(directory: Path) -> Listing:
    """The entries of one folder. ConvsmithError if it is missing, a file, or not readable.

    Names that start with a dot, and `__MACOSX`, are skipped. Links are followed; one that leads nowhere counts as a
    file, so that a broken link to an image becomes a bad file with a name instead of a silent gap.
    """
    listing = Listing()
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith(".") or name == "__MACOSX":
                    continue
                kind = _kind(entry)
                _, dot, extension = name.rpartition(".")
                suffix = (dot and dot + extension).lower()
                if kind == "folder":
                    listing.folders.append(name)
                elif kind == "file" and suffix in IMAGE_SUFFIXES:
                    listing.images.append(name)
                elif kind == "file":
                    listing.others[printable(suffix) or "without extension"] += 1
                else:
                    listing.others[kind] += 1
    except NotADirectoryError as error:
        raise ConvsmithError(
            f"{printable(directory)} is a file", "data is a folder", "Unpack it if it is an archive."
        ) from error
    except OSError as error:
        raise _unreadable(directory, error) from error
    listing.folders.sort(key=os.fsencode)
    return listing


def images_below(root: Path, folder: str, others: Counter[str]) -> list[bytes]:
    """All images in `root/folder` at any depth, as paths relative to `root`, sorted by their bytes.

    Each real folder is read once, and none that lies above is entered again, so links cannot make a loop.
    Files that are not images are added to `others`, by kind.
    """
    found: list[bytes] = []
    visited = {_identity(above) for above in _folders_above(root, root / folder)}
    pending = [folder]
    while pending:
        relative = pending.pop()
        directory = root / relative
        identity = _identity(directory)
        if identity in visited:
            continue
        visited.add(identity)
        listing = list_folder(directory)
        found += [os.fsencode(f"{relative}/{name}") for name in listing.images]
        pending += [f"{relative}/{name}" for name in reversed(listing.folders)]
        others.update(listing.others)
    return sorted(found)


def others_note(others: Counter[str]) -> str:
    """The line about files that are not images, by kind."""
    common = others.most_common(5)
    kinds = [f"{count} {kind}" for kind, count in common]
    if (rest := others.total() - sum(count for _, count in common)) > 0:
        kinds.append(f"{rest} of other kinds")
    return f"left out, not images: {', '.join(kinds)}"


def _kind(entry: os.DirEntry[str]) -> Literal["folder", "file", "pipe, socket or device"]:
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists()):
            return "file"
    except OSError:  # a link in a circle, or into a folder that may not be read
        return "file"
    return "pipe, socket or device"  # reading it could wait for ever


def _folders_above(root: Path, directory: Path) -> set[Path]:
    """Every real folder that contains `directory`, by its own path or by the links it was reached through."""
    starts = [root.resolve(), directory.parent.resolve(), directory.resolve().parent]
    return {above for start in starts for above in (start, *start.parents)}


def _identity(directory: Path) -> tuple[int, int]:
    try:
        status = directory.stat()
    except OSError as error:
        raise _unreadable(directory, error) from error
    return status.st_dev, status.st_ino


def _unreadable(directory: Path, error: OSError) -> ConvsmithError:
    return ConvsmithError(
        f"cannot read the folder {printable(directory)}",
        error.strerror or str(error),
        "Check that it exists and that you may read it.",
    )
