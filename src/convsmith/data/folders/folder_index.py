"""The index of a folder of very many images: kept in the cache, and checked by the times of its folders."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.images.open_image import IMAGE_SUFFIXES
from convsmith.data.folders.files import Files
from convsmith.data.folders.image_folder import open_image_folder
from convsmith.data.folders.scan import OURS, folders_listed
from convsmith.data.image_data import ImageData
from convsmith.data.index import Index
from convsmith.data.split import Share
from convsmith.errors import counted, of_system
from convsmith.machine import cache_folder
from convsmith.storage import locked_file, new_directory
from convsmith.waiting import answer_of

logger = logging.getLogger(__name__)

_VERSION = 1
_WORTH = 200_000  # images; fewer are found in a second or two
_SETTLED = 2 * 10**9  # nanoseconds from a change of a folder to the next one that surely gives it another time


def open_large_folder(root: Path, share: Share | None, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> ImageData:
    """`open_image_folder`; what was found of very many images before is taken over, unless a folder has changed.

    A folder's time tells when a name in it came, went or changed; what is in the files is looked at elsewhere.
    """
    root = root.absolute()
    more = "".join(sorted(suffixes - IMAGE_SUFFIXES))
    name = hashlib.sha256(f"{_VERSION} {root} {share}{more}".encode("utf-8", "surrogateescape")).hexdigest()
    place = cache_folder() / "folders" / name[:32]
    if not place.parent.is_dir():
        return _scanned(root, share, suffixes, place)
    with locked_file(place.with_suffix(".lock")):
        return _load(root, place) or _scanned(root, share, suffixes, place)


def _scanned(root: Path, share: Share | None, suffixes: frozenset[str], place: Path) -> ImageData:
    start = time.time_ns()
    with folders_listed() as folders:
        data = open_image_folder(root, share, suffixes)
    images = len(data.train) + len(data.val)
    if images < _WORTH or any(OURS in note for note in data.notes):  # what convsmith wrote may change further inside
        return data
    try:
        packed = np.array([str(folder).encode("utf-8", "surrogateescape") for folder in folders])
        times = _times(packed)
        if times.max() > start - _SETTLED:
            return data
        with new_directory(place) as new:
            _save(new, data, packed, times)
    except OSError as error:
        logger.warning("%s", of_system(error, f"the index of {counted(images, 'image')} cannot be kept in {place}"))
    return _load(root, place) or data  # mapped, so that all processes share one


def _times(folders: NDArray[np.bytes_]) -> NDArray[np.int64]:
    """The time of change of each folder in nanoseconds. OSError if one has gone."""

    def ask() -> NDArray[np.int64]:
        paths = (Path(folder.decode("utf-8", "surrogateescape")) for folder in folders)
        return np.fromiter((path.stat().st_mtime_ns for path in paths), np.int64, len(folders))

    return answer_of(ask, "one of the folders of the data")


def _save(new: Path, data: ImageData, folders: NDArray[np.bytes_], times: NDArray[np.int64]) -> None:
    arrays = {"folders": folders, "times": times}
    for split, index in (("train", data.train), ("val", data.val)):
        buffer, offsets = index.images.key
        arrays |= {f"{split}_buffer": buffer, f"{split}_offsets": offsets, f"{split}_targets": index.targets}
    for name, array in arrays.items():
        np.save(new / f"{name}.npy", array, allow_pickle=False)
    (new / "facts.json").write_text(json.dumps({"classes": data.classes, "notes": data.notes}))


def _load(root: Path, place: Path) -> ImageData | None:
    """Open what was kept; None if it is not there, damaged, or a folder has changed."""
    with suppress(OSError, ValueError, KeyError, EOFError):

        def array(name: str) -> NDArray[Any]:
            return np.asarray(np.load(place / f"{name}.npy", mmap_mode="r", allow_pickle=False))

        def index(split: str) -> Index:
            files = Files(root, array(f"{split}_buffer"), array(f"{split}_offsets"))
            targets = array(f"{split}_targets")
            if len(files) != len(targets):
                raise ValueError
            return Index(files, targets)

        facts = json.loads((place / "facts.json").read_text())
        if not np.array_equal(_times(array("folders")), array("times")):
            return None
        return ImageData(root, tuple(facts["classes"]), index("train"), index("val"), tuple(facts["notes"]))
    return None
