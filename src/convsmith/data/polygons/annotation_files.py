"""Reading files of annotations, which may come from a stranger, in bounded memory; and finding the images they name."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from convsmith.errors import ConvsmithError, of_system, printable
from convsmith.waiting import answer_of, open_file

MAX_BYTES = 2**31
"""The most bytes of a file of annotations; COCO's largest has a quarter."""

HEAD = 2**16
"""Bytes at the start of a file that tell what it is."""

_SPACE = re.compile(r"[ \t\r\n]*")


def read_text(path: Path, most: int = MAX_BYTES) -> str:
    """The text of a file of at most `most` bytes. ConvsmithError if it cannot be read, or is not UTF-8."""

    def read() -> bytes:
        with open_file(path) as file:
            return file.read(most + 1)

    try:
        data = answer_of(read, str(path))
    except OSError as error:
        raise of_system(error, f"cannot read {printable(path)}") from error
    if len(data) > most:
        raise ConvsmithError(f"{printable(path)} is too large", f"such a file may have {most:,} bytes", "Split it.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConvsmithError(f"{printable(path)} is not UTF-8", "", "Save it as UTF-8.") from error


def head_of(path: Path) -> bytes:
    """The first bytes of a file, at most `HEAD`; none where it cannot be read."""

    def read() -> bytes:
        with open_file(path) as file:
            return file.read(HEAD)

    try:
        return answer_of(read, str(path)) if path.is_file() else b""
    except OSError:
        return b""


def read_json(path: Path) -> object:
    """The value in a JSON file."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise _not_json(path, error) from error


def members_of(path: Path) -> Iterator[tuple[str, object]]:
    """The keys and values of the object in a JSON file; of a value that is a list, each element in turn.

    So the memory is that of the text and of one element, however many there are.

    Raises:
        ConvsmithError: it cannot be read, or holds anything but an object.
    """
    text, decoder = read_text(path), json.JSONDecoder()

    def behind(place: int) -> int:
        """Where what follows white space begins."""
        match = _SPACE.match(text, place)
        assert match is not None
        return match.end()

    def expect(place: int, signs: str) -> tuple[str, int]:
        place = behind(place)
        if text[place : place + 1] not in signs or place >= len(text):
            raise ValueError(f"expected {' or '.join(signs)} at character {place:,}")
        return text[place], behind(place + 1)

    def step(place: int, end: str) -> int:
        """Where the next element begins behind a comma, or the end of all is."""
        sign, after = expect(place, f",{end}")
        if sign == "," and text[after : after + 1] == end:
            raise ValueError(f"a comma before the end at character {after:,}")
        return after if sign == "," else behind(place)

    try:
        _, place = expect(0, "{")
        while text[place : place + 1] != "}":
            key, place = decoder.raw_decode(text, place)
            if not isinstance(key, str):
                raise ValueError(f"a key is not text, before character {place:,}")
            _, place = expect(place, ":")
            if text[place : place + 1] != "[":
                value, place = decoder.raw_decode(text, place)
                yield key, value
            else:
                place = behind(place + 1)
                while text[place : place + 1] != "]":
                    value, place = decoder.raw_decode(text, place)
                    yield key, value
                    place = step(place, "]")
                place += 1
            place = step(place, "}")
        if behind(place + 1) != len(text):
            raise ValueError(f"more follows behind character {place:,}")
    except (ValueError, RecursionError) as error:
        raise _not_json(path, error) from error


def _not_json(path: Path, error: Exception) -> ConvsmithError:
    why = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
    return ConvsmithError(f"{printable(path)} is not JSON of annotations", why, "Export it again.")


@dataclass
class ImagePlaces:
    """Folders in which images may lie that a file names, relative to the folder of all.

    Attributes:
        root: the folder of all.
        folders: the most likely one first; empty text is `root` itself.
    """

    root: Path
    folders: Sequence[str]
    _last: str = field(default="", init=False)

    def find(self, name: str, *others: str) -> str:
        """The path of an image relative to `root`; where it is nowhere, where it would have been in the first folder.

        Args:
            name: as the file spells it, with / or \\ between folders.
            others: folders that may hold this one, too, before all others.
        """
        name = name.replace("\\", "/").removeprefix("./")
        base = name.rpartition("/")[2]
        folders = dict.fromkeys((*others, *([self._last] if self._last in self.folders else []), *self.folders))
        for tried in dict.fromkeys((name, base)):
            for folder in folders:
                path = os.path.normpath(os.path.join(folder, tried))  # noqa: PTH118 - text, which may be ../
                if (self.root / path).is_file():
                    self._last = folder
                    return path
        return os.path.normpath(os.path.join(self.folders[0], name))  # noqa: PTH118 - text, which may be ../


def relative(folder: Path, root: Path) -> str:
    """A folder as text relative to another one; empty for itself."""
    found = os.path.relpath(folder, root)
    return "" if found == "." else found


def check_text(value: object, what: str) -> str:
    """Text that a file system can hold, or a ValueError that says `what` is not."""
    if not isinstance(value, str) or not value.strip() or "\0" in value or not _is_plain(value):
        raise ValueError(f"has {what} that is not text")
    return value


def check_size(width: object, height: object) -> tuple[int, int]:
    """Width and height as whole numbers. ValueError if they are not."""
    sides = [int(side) if isinstance(side, float) and side.is_integer() else side for side in (width, height)]
    if any(type(side) is not int for side in sides):
        raise ValueError("does not say its width and height as whole numbers")
    return sides[0], sides[1]  # type: ignore[return-value]


def _is_plain(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
