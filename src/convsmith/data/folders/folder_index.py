"""The index of a folder of very many images: kept in the cache and beside runs, and checked by the times of folders."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
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
from convsmith.errors import counted, of_system, printable
from convsmith.machine import cache_folder
from convsmith.storage import new_directory
from convsmith.system import lock
from convsmith.waiting import answer_of

logger = logging.getLogger(__name__)

_VERSION = 1
_WORTH = 200_000  # images; fewer are found in a second or two
_SETTLED = 2 * 10**9  # nanoseconds from a change of a folder to the next one that surely gives it another time
_PAUSE = 0.05  # seconds between two looks whether another process still reads
_PATIENCE = 200  # looks before that is said


_Write = Callable[[Path], None]
"""Writes an index into a folder."""


class _Beside:
    """The indexes that a run keeps in a folder, by their names: those that are right, and others that were opened."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._opened, self._are_all = folder, dict[str, _Write](), True

    def load(self, root: Path, name: str) -> ImageData | None:
        """Open one that is there."""
        if (data := _load(root, self._folder / name)) is not None:
            self._opened[name] = partial(_link, self._folder / name)
        return data

    def note(self, name: str, write: _Write) -> None:
        """Note one that is not there, and how to write it."""
        self._opened[name], self._are_all = write, False

    def keep(self) -> None:
        """Let those that were opened be there, and no others."""
        if self._are_all:
            return
        try:
            with new_directory(self._folder) as new:
                for name, write in self._opened.items():
                    (new / name).mkdir()
                    write(new / name)
        except OSError as error:
            logger.warning("%s", of_system(error, f"the index of the data cannot be kept in {self._folder}"))


_beside: list[_Beside] = []


@contextmanager
def index_beside(folder: Path) -> Iterator[Callable[[], None]]:
    """Open the indexes of very many images that a run keeps in a folder, where they are right, in the block.

    Yields:
        What writes the others that were opened there: for the one process that may write in the run.
    """
    _beside.append(beside := _Beside(folder))
    try:
        yield beside.keep
    finally:
        _beside.pop()


def open_large_folder(root: Path, share: Share | None, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> ImageData:
    """`open_image_folder`; what was found of very many images before is taken over, unless a folder has changed.

    A folder's time tells when a name in it came, went or changed; what is in the files is looked at elsewhere.
    """
    root = root.absolute()
    more = "".join(sorted(suffixes - IMAGE_SUFFIXES))
    name = hashlib.sha256(f"{_VERSION} {root} {share}{more}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
    for beside in _beside:
        if (data := beside.load(root, name)) is not None:
            return data
    place = cache_folder() / "folders" / name
    with _alone(root) as was_free:  # one process reads, and the others open what it keeps
        if (data := _load(root, place)) is not None:
            for beside in _beside:
                beside.note(name, partial(_link, place))
            return data
        if was_free:
            return _scanned(root, share, suffixes, place)
    return _scanned(root, share, suffixes, place)  # nothing was kept, as of few images, so no one need wait for this


@contextmanager
def _alone(root: Path) -> Iterator[bool]:
    """Let no other process open the same folder meanwhile, where folders can be locked; nothing is written for it.

    Yields:
        Whether none was opening it, so that there was nothing to wait for.
    """
    try:
        number = answer_of(lambda: os.open(root, os.O_RDONLY), f"the folder {root}")
    except OSError:  # who reads it says why
        yield True
        return
    try:
        yield _lock_when_free(number, root)
    finally:
        os.close(number)


def _lock_when_free(number: int, root: Path) -> bool:
    """Lock an open folder, and whether that was possible at once; True too where nothing can be locked."""
    looks = 0
    while True:
        try:
            lock(number)
        except BlockingIOError:
            looks += 1
            if looks == _PATIENCE:
                logger.info("another process reads %s: waiting for what it finds", printable(root))
            time.sleep(_PAUSE)
        except OSError:  # the file system has no locks
            return True
        else:
            return looks == 0


def _scanned(root: Path, share: Share | None, suffixes: frozenset[str], place: Path) -> ImageData:
    start = time.time_ns()
    with folders_listed() as folders:
        data = open_image_folder(root, share, suffixes)
    images = len(data.train) + len(data.val)
    if images < _WORTH or any(OURS in note for note in data.notes):  # what convsmith wrote may change further inside
        return data
    packed = np.array([str(folder).encode("utf-8", "surrogateescape") for folder in folders])
    try:
        times = _times(packed)
    except OSError:  # it has gone meanwhile
        return data
    if times.max() > start - _SETTLED:
        return data
    write: _Write = partial(_save, data=data, folders=packed, times=times)
    try:
        with new_directory(place) as new:
            write(new)
    except OSError as error:
        logger.warning("%s", of_system(error, f"the index of {counted(images, 'image')} cannot be kept in {place}"))
    else:
        data, write = _load(root, place) or data, partial(_link, place)  # mapped, so that all processes share one
    for beside in _beside:
        beside.note(place.name, write)
    return data


def _link(place: Path, new: Path) -> None:
    """Give the files of an index a second name in another folder, or copy them to another disk."""
    for file in place.iterdir():
        try:
            (new / file.name).hardlink_to(file)
        except OSError:
            shutil.copyfile(file, new / file.name)


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
