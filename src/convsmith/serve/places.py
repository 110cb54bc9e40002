"""Where a server's bundles are: at the places that it was given, or in a folder that it watches."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from convsmith.bundle.format import MANIFEST, bundle_folder
from convsmith.errors import ConvsmithError

NAME = "model"
"""The name of a model that was given none."""

FIRST_VERSION = "1"

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Key(NamedTuple):
    """A version of a named model."""

    name: str
    version: str

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read `NAME` or `NAME/VERSION`; a ConvsmithError if it is neither."""
        name, _, version = text.partition("/")
        if not _WORD.fullmatch(name) or ("/" in text and not _WORD.fullmatch(version)):
            raise ConvsmithError(
                f"`{text}` is not the name of a model",
                "names and versions are letters, digits, and . _ - between them",
                "Write NAME, or NAME/VERSION.",
            )
        return cls(name, version or FIRST_VERSION)

    @property
    def order(self) -> tuple[str, bool, int, str]:
        """By name, and by version: numbers above words, higher ones above lower ones."""
        number = self.version.isdecimal()
        return self.name, number, int(self.version) if number else 0, self.version


class Found(NamedTuple):
    """The folder of a bundle, and something that changes when its files do."""

    path: Path
    state: object


class Places(Protocol):
    """Where bundles are."""

    may_change: bool
    """Whether they come, change and go by themselves."""

    def find(self) -> dict[Key, Found]:
        """The bundles that there are now; an OSError if that cannot be known."""


class Given:
    """Bundles that a server was given, each by its `NAME` or `NAME/VERSION`.

    Raises:
        ConvsmithError: one of these is not a name.
    """

    may_change = False

    def __init__(self, bundles: Mapping[str, Path]) -> None:
        self._bundles = {Key.parse(text): path for text, path in bundles.items()}

    def find(self) -> dict[Key, Found]:
        """All of them, whether they are there or not."""
        return {key: Found(path, None) for key, path in self._bundles.items()}


class Watched:
    """The bundles below a folder: `NAME/bundle`, as a run has it, `NAME` itself, or `NAME/VERSION`.

    Raises:
        ConvsmithError: there is no such folder.
    """

    may_change = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        if not folder.is_dir():
            raise ConvsmithError(
                f"{folder} is not a folder", "bundles are looked for in it", "Make it, or mend --watch."
            )

    def find(self) -> dict[Key, Found]:
        """Those whose manifest is there, by name and the lowest version first."""
        found = {key: Found(path, _state(path)) for key, path in self._bundles()}
        return {key: found[key] for key in sorted(found, key=lambda key: key.order)}

    def _bundles(self) -> Iterator[tuple[Key, Path]]:
        for place in _folders(self._folder):
            if path := _bundle_in(place):
                yield Key(place.name, FIRST_VERSION), path
            else:
                for version in _folders(place):
                    if path := _bundle_in(version):
                        yield Key(place.name, version.name), path


def _folders(folder: Path) -> list[Path]:
    return [it for it in folder.iterdir() if _WORD.fullmatch(it.name) and it.is_dir()]


def _bundle_in(folder: Path) -> Path | None:
    path = bundle_folder(folder)
    return path if (path / MANIFEST).is_file() else None


def _state(folder: Path) -> object:
    """The name, number, size and time of each file of a bundle."""
    with os.scandir(folder) as entries:
        facts = [(it.name, it.inode(), it.stat().st_size, it.stat().st_mtime_ns) for it in entries]
    return folder.stat().st_ino, tuple(sorted(facts))
