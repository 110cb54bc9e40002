"""Where the images lie that a table names: as it says, or in a folder beside it, and with which ending."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from convsmith.bundle.images.open_image import IMAGE_SUFFIXES
from convsmith.data.folders.scan import is_hidden, is_no_data, note_places
from convsmith.errors import ConvsmithError, quoted

PROBED = 20
"""So many names tell in which folder all files lie."""

_ENDINGS = tuple(os.fsencode(suffix) for suffix in (*IMAGE_SUFFIXES, ".npy"))

Names = Mapping[bytes, Sequence[bytes]]
"""The files of a folder, by their name with and without its ending."""


class Found:
    """Files by what a table calls them: a path below a folder, whose ending may lack.

    Args:
        root: what the table's paths are relative to.
        names: what it calls the first of the files.
        likes: what a folder is called, or begins with, that is the one where several hold files of such names.

    Raises:
        ConvsmithError: files of such names lie in several folders.
    """

    def __init__(self, root: Path, names: Sequence[bytes], likes: Sequence[str]) -> None:
        self._root, self._listed = root, dict[bytes, Names]()
        self._folder: bytes | None = None  # as the names say
        note_places((root / os.fsdecode(name)).parent for name in names)
        if any(os.path.isfile(os.path.join(os.fsencode(root), name)) for name in names):  # noqa: PTH113, PTH118 - bytes
            return
        note_places([root])
        holding = [it for it in (b"", *_folders(root)) if any(self._matches(it, name) for name in names)]
        liked = [it for it in holding if it.lower().startswith(tuple(os.fsencode(like.lower()) for like in likes))]
        chosen = liked if len(holding) > 1 and liked else holding
        if len(chosen) > 1:
            folders = [os.fsdecode(os.path.join(os.fsencode(root), it)) for it in chosen]  # noqa: PTH118 - bytes
            raise ConvsmithError(
                f"files that the table names lie in {quoted(folders)}",
                f"{quoted([os.fsdecode(names[0])])} may be in any of them",
                "Say which by data.root.",
            )
        self._folder = chosen[0] if chosen else None

    @property
    def as_named(self) -> bool:
        """Whether the names are the paths."""
        return self._folder is None

    def path(self, name: bytes) -> Sequence[bytes]:
        """The path of the file of a name below the root; several, where several differ in their ending only."""
        if self._folder is None:
            return [name]
        return self._matches(self._folder, name) or [_join(self._folder, name)]

    def _matches(self, folder: bytes, name: bytes) -> list[bytes]:
        above, _, last = name.rpartition(b"/")
        parent = _join(folder, above) if above else folder
        if parent not in self._listed:
            self._listed[parent] = _list(os.path.join(os.fsencode(self._root), parent))  # noqa: PTH118 - bytes
        return [_join(parent, file) for file in self._listed[parent].get(last, ())]


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


def _folders(root: Path) -> list[bytes]:
    """The folders directly in one, sorted, that are neither hidden nor a system's."""
    try:
        with os.scandir(root) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
    except OSError:  # files that are missing are named later
        return []
    return sorted(os.fsencode(name) for name in names if not is_hidden(name) and not is_no_data(name))


def _list(folder: bytes) -> Names:
    found: dict[bytes, list[bytes]] = {}
    note_places([Path(os.fsdecode(folder))])
    try:
        files = sorted(os.listdir(folder))  # noqa: PTH208 - bytes
    except OSError:
        return found
    for file in files:
        stem, dot, ending = file.rpartition(b".")
        if (dot + ending).lower() in _ENDINGS:
            found.setdefault(stem, []).append(file)
    return {**found, **{file: [file] for file in files}}
