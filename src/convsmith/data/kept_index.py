"""The index of very many images: kept in the cache and beside runs, and checked by the times of what it was made of."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from convsmith.data.folders.scan import OURS, places_noted
from convsmith.errors import counted, of_system, printable
from convsmith.machine import cache_folder
from convsmith.storage import new_directory
from convsmith.system import lock
from convsmith.waiting import answer_of

logger = logging.getLogger(__name__)

_VERSION = 2
_WORTH = 200_000  # images; fewer are found in a second or two
_SETTLED = 2 * 10**9  # nanoseconds from a change of a folder to the next one that surely gives it another time
_PAUSE = 0.05  # seconds between two looks whether another process still reads
_PATIENCE = 200  # looks before that is said

T = TypeVar("T")

Arrays = Mapping[str, NDArray[Any]]
"""Arrays by their names."""


@dataclass(frozen=True)
class Packed:
    """An index as it is kept.

    Attributes:
        images: how many there are.
        arrays: kept as files, which all processes map.
        notes: lines worth printing.
        facts: what else there is to say, as JSON holds it.
        passing: arrays that are handed on in this process, and not kept, since what they say may change.
    """

    images: int
    arrays: Arrays
    notes: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    passing: Arrays = field(default_factory=dict)


@dataclass(frozen=True)
class Finding(Generic[T]):
    """How something is found, and kept.

    Attributes:
        read: finds it, and notes all places that decide what is found, see `note_places`.
        pack: gives what is kept; None for what cannot be.
        unpack: makes the same of that again. KeyError or ValueError if it is damaged.
    """

    read: Callable[[], T]
    pack: Callable[[T], Packed | None]
    unpack: Callable[[Packed], T]


_Write = Callable[[Path], None]
"""Writes an index into a folder."""


class _Beside:
    """The indexes that a run keeps in a folder, by their names: those that are right, and others that were opened."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._opened, self._are_all = folder, dict[str, _Write](), True

    def load(self, name: str, finding: Finding[T]) -> T | None:
        """Open one that is there."""
        if (data := _load(self._folder / name, finding)) is not None:
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


def open_kept(root: Path, settings: str, finding: Finding[T]) -> T:
    """Find what is at a path; of very many images what was found before, unless a place has changed that decides it.

    A folder's time tells when a name in it came, went or changed, and that of a file, with its size, when what it says
    did; what is in the images is looked at elsewhere.

    Args:
        root: an absolute path: the folder of the data, or their table.
        settings: all else that decides what is found.
        finding: how that is done.
    """
    name = hashlib.sha256(f"{_VERSION} {root} {settings}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
    for beside in _beside:
        if (data := beside.load(name, finding)) is not None:
            return data
    place = cache_folder() / "index" / name
    with _alone(root) as was_free:  # one process reads, and the others open what it keeps
        if (data := _load(place, finding)) is not None:
            for beside in _beside:
                beside.note(name, partial(_link, place))
            return data
        if was_free:
            return _read(place, finding)
    return _read(place, finding)  # nothing was kept, as of few images, so no one need wait for this


@contextmanager
def _alone(root: Path) -> Iterator[bool]:
    """Let no other process open the same data meanwhile, where they can be locked; nothing is written for it.

    Yields:
        Whether none was opening them, so that there was nothing to wait for.
    """
    try:
        number = answer_of(lambda: os.open(root, os.O_RDONLY), str(root))
    except OSError:  # who reads it says why
        yield True
        return
    try:
        yield _lock_when_free(number, root)
    finally:
        os.close(number)


def _lock_when_free(number: int, root: Path) -> bool:
    """Lock an open folder or file, and whether that was possible at once; True too where nothing can be locked."""
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


def _read(place: Path, finding: Finding[T]) -> T:
    start = time.time_ns()
    with places_noted() as places:
        data = finding.read()
    packed = finding.pack(data)
    if packed is None or packed.images < _WORTH:
        return data
    if any(OURS in note for note in packed.notes):  # what convsmith wrote may change further inside
        return data
    encoded = np.array([*{str(it).encode("utf-8", "surrogateescape"): None for it in places}])
    try:
        states = _states(encoded)
    except OSError:  # one has gone meanwhile
        return data
    if states[:, 0].max() > start - _SETTLED:
        return data
    write: _Write = partial(_save, packed=packed, places=encoded, states=states)
    try:
        with new_directory(place) as new:
            write(new)
    except OSError as error:
        what = f"the index of {counted(packed.images, 'image')} cannot be kept in {place}"
        logger.warning("%s", of_system(error, what))
    else:  # mapped, so that all processes share one
        data, write = _load(place, finding, packed.passing) or data, partial(_link, place)
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


def _states(places: NDArray[np.bytes_]) -> NDArray[np.int64]:
    """The times of each folder and file, and the size of files, int64 `[P, 3]`. OSError if one has gone."""

    def ask() -> NDArray[np.int64]:
        return np.array([_state(Path(place.decode("utf-8", "surrogateescape"))) for place in places], np.int64)

    return answer_of(ask, "one of the folders of the data")


def _state(place: Path) -> tuple[int, int, int]:
    """When it changed, and of a file also its size and when that time was set: who edits a table may put it back."""
    found = place.stat()
    return (
        (found.st_mtime_ns, 0, 0)
        if stat.S_ISDIR(found.st_mode)
        else (found.st_mtime_ns, found.st_ctime_ns, found.st_size)
    )


def _save(new: Path, packed: Packed, places: NDArray[np.bytes_], states: NDArray[np.int64]) -> None:
    for name, array in {**packed.arrays, "places": places, "states": states}.items():
        np.save(new / f"{name}.npy", array, allow_pickle=False)
    facts = {"images": packed.images, "notes": packed.notes, "facts": packed.facts, "arrays": [*packed.arrays]}
    (new / "facts.json").write_text(json.dumps(facts))


def _load(place: Path, finding: Finding[T], passing: Arrays | None = None) -> T | None:
    """Open what was kept; None if it is not there, damaged, or a place has changed."""
    with suppress(OSError, ValueError, KeyError, EOFError):

        def array(name: str) -> NDArray[Any]:
            return np.asarray(np.load(place / f"{name}.npy", mmap_mode="r", allow_pickle=False))

        kept = json.loads((place / "facts.json").read_text())
        if not np.array_equal(_states(array("places")), array("states")):
            return None
        arrays = {name: array(name) for name in kept["arrays"]}
        return finding.unpack(Packed(kept["images"], arrays, tuple(kept["notes"]), kept["facts"], passing or {}))
    return None
