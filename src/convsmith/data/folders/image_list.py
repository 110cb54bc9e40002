"""Many images that were named, as one list: packed, so that millions fit into memory, and told from other lists."""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convsmith.data.contents import Content, Contents
from convsmith.data.folders.files import Files, FilesBuilder
from convsmith.data.folders.image_paths import Named, Place, find_places, refuse
from convsmith.recipe.data import Data

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Typed:
    """The image on standard input."""

    content: bytes

    def __len__(self) -> int:
        return 1

    def __getitem__(self, i: int) -> Content:
        return Content("-", lambda: io.BytesIO(self.content))

    @property
    def key(self) -> tuple[NDArray[np.generic], ...]:
        return (np.frombuffer(self.content, np.uint8),)


class ImageList:
    """Images in order, which are opened when they are read.

    Args:
        places: what `find_places` gives.
    """

    def __init__(self, places: Iterable[Place]) -> None:
        self._parts: list[Files | _Typed | Contents] = []
        typed = FilesBuilder(Path())
        for place in places:
            image = place[1] if isinstance(place, tuple) else place
            if isinstance(image, Path):
                typed.add(os.fsencode(image))
                continue
            self._parts.append(typed.build())
            typed = FilesBuilder(Path())
            self._parts.append(_Typed(image) if isinstance(image, bytes) else image)
        self._parts.append(typed.build())

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def since(self, first: int) -> Iterator[Named]:
        """The name of each image from the one of that number on, and what gives its bytes."""
        for part in self._parts:
            for i in range(min(first, len(part)), len(part)):
                content = part[i]
                yield content.name, content.read
            first = max(0, first - len(part))

    def digest(self) -> str:
        """SHA-256 of what names the images, in their order; of shards and tables wherever they lie."""
        found = hashlib.sha256()
        for array in (array for part in self._parts for array in part.key):
            found.update(len(array).to_bytes(8, "little"))
            found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()


def list_images(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], section: Data | None = None
) -> ImageList:
    """The images that paths stand for, see `named_images`. ConvsmithError if one of them gives none."""
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    return ImageList(find_places([os.fspath(path) for path in given], refuse, logger.warning, section))
