"""From what was typed, or named in Python, to images: files, folders, patterns, tables, shards, standard input."""

from __future__ import annotations

import glob
import logging
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from convsmith.bundle.images.limits import MAX_BYTES
from convsmith.bundle.images.open_image import IMAGE_SUFFIXES
from convsmith.bundle.preprocess import ImageSource, is_one_image
from convsmith.data.contents import Contents
from convsmith.data.folders.outputs import is_output
from convsmith.data.folders.scan import held, is_hidden, is_no_data
from convsmith.data.source import images_at
from convsmith.errors import ConvsmithError
from convsmith.recipe.data import Data
from convsmith.waiting import answer_of
from convsmith.words import for_terminal

logger = logging.getLogger(__name__)

Complain = Callable[[str, str], None]
"""Takes the name of what is wrong, and the reason."""

Named = tuple[str, ImageSource]
"""An image, and what it is called."""

Note = Callable[[str], None]
"""Takes a line that is worth reading."""


Place = tuple[str, Path | bytes] | Contents
"""One image, and what it is called; or many, each of which knows what it is called."""


def find_images(arguments: Sequence[str], complain: Complain, note: Note) -> Iterator[Named]:
    """Names and images, in order, one folder at a time; see `find_places`."""
    return flatten(find_places(arguments, complain, note))


def flatten(places: Iterable[Place]) -> Iterator[Named]:
    """The images one by one; those of `Contents` as functions that read them."""
    for place in places:
        if isinstance(place, tuple):
            yield place
        else:
            yield from ((content.name, content.read) for content in map(place.__getitem__, range(len(place))))


def find_places(
    arguments: Sequence[str], complain: Complain, note: Note, section: Data | None = None
) -> Iterator[Place]:
    """Images with their names, in order, one folder at a time; those of a table, or of shards, all at once.

    A folder gives the image files in it and below, by name; links to other folders are not followed. Hidden names,
    and folders that convsmith or a system wrote, are left out, the latter with a note. A pattern is
    expanded here where the shell did not. `-` is one image on standard input. What a source of data holds images in, as
    tables and shards do, gives all of these; but a folder with image files is a folder. Whatever else is typed counts
    as a file, of any name.

    Args:
        arguments: what was typed.
        complain: called for what gives no image.
        note: called with what else is worth reading.
        section: a recipe's `data`, see `images_at`.

    Raises:
        ConvsmithError: a table, or what else holds images, cannot be read.
    """
    found = section or Data()
    for argument in arguments:
        if argument == "-":
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
            if len(content) > MAX_BYTES:
                complain("-", f"an image file may have {MAX_BYTES // 2**20} MiB")
            else:
                yield "-", content
        elif any(sign in argument for sign in "*?[") and not os.path.lexists(argument):
            matches = sorted(glob.iglob(argument, recursive=True))  # noqa: PTH207 (Path.glob refuses absolute patterns)
            if not matches:
                complain(argument, "no file matches")
            for match in matches:
                if is_hidden(Path(match).name) or any(is_no_data(part) for part in Path(match).parts):
                    continue
                yield from _of_place(match, complain, note, found)
        else:
            yield from _of_place(argument, complain, note, found)


def _of_place(name: str, complain: Complain, note: Note, section: Data) -> Iterator[Place]:
    held_here = None if _has_image_files(Path(name)) else images_at(Path(name), section)
    if held_here is None:
        yield from _file_or_folder(name, complain, note)
    else:
        yield held_here


def _has_image_files(path: Path) -> bool:
    """Whether it is an image file by its name, or a folder directly around such files."""
    if not path.is_dir():
        return _is_image_name(path.name)
    with suppress(OSError), os.scandir(path) as entries:
        return any(_is_image_name(entry.name) and not entry.is_dir() for entry in entries)
    return False


def _is_image_name(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES and not is_hidden(name)


def _file_or_folder(name: str, complain: Complain, note: Note) -> Iterator[tuple[str, Path]]:
    if not Path(name).is_dir():
        yield name, Path(name)
        return
    found, others = False, Counter[str]()
    walk = os.walk(name, onerror=lambda error: complain(str(error.filename), (error.strerror or str(error)).lower()))
    for folder, subfolders, files in iter(partial(answer_of, partial(next, walk, None), name), None):
        subfolders[:] = [name for name in sorted(subfolders) if not is_hidden(name)]
        for subfolder in [Path(folder, name) for name in subfolders]:
            maker = "a system" if is_no_data(subfolder.name) else "convsmith" if is_output(subfolder) else None
            if maker:
                subfolders.remove(subfolder.name)
                note(f"left out: {for_terminal(str(subfolder))}, which {maker} wrote")
        for file in sorted(files):
            if _is_image_name(file):
                found = True
                path = Path(folder, file)
                if answer_of(partial(_is_special, path), str(path)):
                    complain(str(path), "it is a pipe, a socket or a device")
                else:
                    yield str(path), path
            elif not is_hidden(file):
                others[Path(file).suffix.lower() or "without extension"] += 1
    if not found:
        complain(name, f"no image in this folder{f', but {held(others)}' if others else ''}")


def _is_special(path: Path) -> bool:
    """Whether it is there, but neither a file nor a folder: it may never answer, and was not asked for by name."""
    try:
        mode = path.stat().st_mode
    except OSError:  # reading it says why
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def named_images(images: ImageSource | Iterable[ImageSource], section: Data | None = None) -> Iterator[Named]:
    """Images as `Bundle.predict` takes them, one or several, with their names: paths, or `images[3]` without one.

    The path of a folder stands for the images in it and below, and one with `*`, `?` or `[` for those whose paths fit;
    that of a table, or of shards, for the images that it names or holds.

    Raises:
        ConvsmithError: it is not an image, or a folder or pattern gives none.
    """
    several: Any = [images] if is_one_image(images) else images
    if not isinstance(several, Iterable):
        raise ConvsmithError(f"{type(images).__name__} is not an image", fix="Name images or folders.")
    for number, image in enumerate(several):
        if isinstance(image, str | os.PathLike):
            yield from flatten(find_places([os.fspath(image)], refuse, logger.warning, section))
        else:
            yield f"images[{number}]", image


def refuse(name: str, why: str) -> None:
    """Raise a ConvsmithError for what gives no image."""
    raise ConvsmithError(f"{for_terminal(name)} cannot be used", why, "Name images, folders or patterns.")
