"""Reading folders: which entries are images, which are folders, and which are neither.

Names are text as `os.fsdecode` makes it, so any bytes survive the way back to the file system.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

from convsmith.bundle.images.open_image import IMAGE_SUFFIXES
from convsmith.data.folders.outputs import is_output
from convsmith.data.folders.remedies import refuse_what_is_no_folder
from convsmith.errors import ConvsmithError, printable
from convsmith.waiting import answer_of

_NOT_DATA = frozenset(  # folders that systems and trackers make beside images, and in some cases copies of those
    (
        *("lost+found", "$recycle.bin", "recycler", "system volume information", "found.000", "temporary items"),
        *("network trash folder", "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot"),
        *("mlruns", "mlartifacts", "wandb", "__pycache__"),
    )
)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, like the `._cat.jpg` that a Mac puts beside cat.jpg."""
    return name.startswith(".") or name == "__MACOSX"


def is_no_data(name: str) -> bool:
    """Whether a folder is one that systems or trackers make for themselves."""
    return name.casefold() in _NOT_DATA


OURS = "written by convsmith"
_recorders: list[list[Path]] = []
_ASKED_AT_ONCE = 1024  # entries

T = TypeVar("T")


@dataclass
class Listing:
    """Files and folders that lie directly in one folder, hidden names aside."""

    folders: list[str] = field(default_factory=list)  # sorted by their bytes
    images: list[str] = field(default_factory=list)  # in the file system's order
    others: Counter[str] = field(default_factory=Counter)  # what is neither, by kind


def list_folder(directory: Path, suffixes: Collection[str] = IMAGE_SUFFIXES) -> Listing:
    """The entries of one folder. ConvsmithError if it is missing, a file, or not readable, or does not answer.

    Names that start with a dot, and `__MACOSX`, are skipped; folders that systems make are among the others. Links are
    followed; one that leads nowhere counts as a file, so that a broken link to an image becomes a bad file with a name
    instead of a silent gap. Names of images end in one of the `suffixes`, in any case.
    """
    listing = Listing()
    for recorder in _recorders:
        recorder.append(directory)
    try:
        with _ask(lambda: os.scandir(directory), directory) as entries:
            for name, kind in _kinds(entries, directory):
                if is_hidden(name):
                    continue
                _, dot, extension = name.rpartition(".")
                suffix = (dot and dot + extension).lower()
                if kind == "folder" and is_no_data(name):
                    listing.others[f"`{printable(name)}`"] += 1
                elif kind == "folder":
                    listing.folders.append(name)
                elif kind == "file" and suffix in suffixes:
                    listing.images.append(name)
                elif kind == "file":
                    listing.others[printable(suffix) or "without extension"] += 1
                else:
                    listing.others[kind] += 1
    except OSError as error:
        refuse_what_is_no_folder(directory)
        raise _unreadable(directory, error) from error
    listing.folders.sort(key=os.fsencode)
    return listing


@contextmanager
def places_noted() -> Iterator[list[Path]]:
    """Note the folders that `list_folder` reads in the block, before each is read, and what `note_places` names."""
    places: list[Path] = []
    _recorders.append(places)
    try:
        yield places
    finally:
        _recorders[:] = [it for it in _recorders if it is not places]  # another thread may have begun to note


def note_places(places: Iterable[Path]) -> None:
    """Note other folders and files whose times tell whether what is found has changed.

    In place of one that is not there the nearest folder above is noted, which changes when it comes.
    """
    if not _recorders:
        return
    there = [nearest(place) for place in places]
    for recorder in _recorders:
        recorder.extend(there)


def nearest(place: Path) -> Path:
    """A folder or file, or where it is not there the nearest folder above that is."""
    while not place.exists() and place != place.parent:
        place = place.parent
    return place


def leave_out_outputs(directory: Path, listing: Listing) -> None:
    """Count the folders that convsmith wrote, such as `runs`, among the others."""
    ours = [name for name in listing.folders if is_output(directory / name)]
    for name in ours:
        listing.folders.remove(name)
        listing.others[f"`{printable(name)}` ({OURS})"] += 1


def images_below(
    root: Path, folder: str, others: Counter[str], suffixes: Collection[str] = IMAGE_SUFFIXES
) -> list[bytes]:
    """All images in `root/folder` at any depth, as paths relative to `root`, sorted by their bytes.

    Each real folder is read once, and none that lies above is entered again, so links cannot make a loop.
    Files that are not images are added to `others`, by kind, and so are folders that convsmith wrote.
    """
    found: list[bytes] = []
    visited = {_identity(above) for above in _folders_above(root, root / folder)} - {_identity(root / folder)}
    pending = [folder]
    while pending:
        relative = pending.pop()
        directory = root / relative
        identity = _identity(directory)
        if identity in visited:
            continue
        visited.add(identity)
        listing = list_folder(directory, suffixes)
        if (listing.others[".json"] or listing.others[".txt"]) and is_output(directory):
            others[OURS] += 1
            continue
        above = f"{relative}/" if relative else ""
        if listing.images:  # no name has a zero in it, and one call for each takes ten times as long
            found += os.fsencode("\0".join([above + name for name in listing.images])).split(b"\0")
        pending += [above + name for name in reversed(listing.folders)]
        others.update(listing.others)
    return sorted(found)


def some_images(folder: Path, depth: int = 8) -> Iterator[Path]:
    """Images in a folder, down to a depth, in no order: whoever wants a few does not read all of it."""
    deeper: list[Path] = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if is_hidden(entry.name):
                continue
            if entry.is_dir():
                deeper.append(Path(entry.path))
            elif entry.is_file() and Path(entry.name).suffix.lower() in IMAGE_SUFFIXES:
                yield Path(entry.path)
    for one in deeper if depth else ():
        yield from some_images(one, depth - 1)


def others_note(others: Counter[str]) -> str:
    """The line about files that are not images, by kind."""
    return f"left out, not images: {held(others)}"


def held(others: Counter[str]) -> str:
    """Files that are not images, by kind: `3 .txt, 1 .csv`."""
    common = others.most_common(5)
    kinds = [f"{count} {kind}" for kind, count in common]
    if (rest := others.total() - sum(count for _, count in common)) > 0:
        kinds.append(f"{rest} of other kinds")
    return ", ".join(kinds)


def _ask(question: Callable[[], T], directory: Path) -> T:
    return answer_of(question, f"the folder {printable(directory)}")


def _kinds(entries: Iterator[os.DirEntry[str]], directory: Path) -> Iterator[tuple[str, str]]:
    """The name and the kind of each entry."""
    while part := _ask(lambda: [(entry.name, _kind(entry)) for entry in islice(entries, _ASKED_AT_ONCE)], directory):
        yield from part


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
        status = _ask(directory.stat, directory)
    except OSError as error:
        raise _unreadable(directory, error) from error
    return status.st_dev, status.st_ino


def _unreadable(directory: Path, error: OSError) -> ConvsmithError:
    return ConvsmithError(
        f"cannot read the folder {printable(directory)}",
        error.strerror or str(error),
        "Check that it exists and that you may read it.",
    )
