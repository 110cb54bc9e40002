"""Which files are meant by a tar shard, a pattern of several, or a folder of them; and which split each is of."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO

from convsmith.data.classes import CLASSES_FILE
from convsmith.data.folders.scan import is_hidden, is_no_data
from convsmith.data.parts import PARTS
from convsmith.data.shards.remote import (
    RemoteFile,
    ask,
    list_files,
    match_files,
    open_copy,
    place_of,
    read_text_file,
    url_of,
)
from convsmith.errors import ConvsmithError, printable, quoted
from convsmith.storage import write_file
from convsmith.waiting import open_file

ENDING = re.compile(r"\.(tar|tar\.\w{2,4}|tgz|tbz2?|txz|tzst)$", re.IGNORECASE)
"""The ends of the names of shards; those that are compressed are refused in words."""

_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
_MOST, _MOST_BRACES = 1_000_000, 20  # files that a pattern names, and braces in it


@dataclass(frozen=True)
class ShardPaths:
    """Some shards.

    Attributes:
        root: the folder that all of them lie in, at some depth.
        paths: of each, as an absolute path.
        splits: `train`, `val` or `test` of each; `""` where neither its name nor its folder says it.
        files: what the paths are copies of, where they lie elsewhere; else empty.
    """

    root: Path
    paths: tuple[Path, ...]
    splits: tuple[str, ...]
    files: tuple[RemoteFile, ...] = ()

    def name(self, number: int) -> str:
        """A shard in messages."""
        return self.files[number].url if self.files else str(self.paths[number])

    def open(self, number: int) -> IO[bytes]:
        """Open a shard for reading. OSError, or a ConvsmithError for one elsewhere that cannot be copied."""
        return open_copy(self.files[number]) if self.files else open_file(self.paths[number])

    def select(self, numbers: Sequence[int]) -> ShardPaths:
        """Some of them."""
        return ShardPaths(
            self.root,
            tuple(self.paths[number] for number in numbers),
            tuple(self.splits[number] for number in numbers),
            tuple(self.files[number] for number in numbers) if self.files else (),
        )

    def names(self) -> list[str]:
        """The path of each below the root, with / between folders."""
        return [path.relative_to(self.root).as_posix() for path in self.paths]


def are_shards(given: Path) -> bool:
    """Whether a path is a shard, a pattern of shards, or a folder of shards and nothing else."""
    if (url := url_of(given)) is not None:
        return _ends_as_shard(url) or "." not in given.name
    with suppress(OSError):
        if given.is_dir():
            return bool(_in_folder(given))
        return bool(_ends_as_shard(given.name) and (given.is_file() or _is_pattern(str(given))))
    return False


def find_shards(given: Path) -> ShardPaths:
    """The shards that a path means, in the order of the pattern, or else of the bytes of their names.

    `photos-{000..012}.tar`, `{train,val}-*.tar` and a folder with shards, or with folders `train` and `val` of shards,
    are such paths.

    Raises:
        ConvsmithError: one of them is not there, is named twice, or says no split though others do.
    """
    files: tuple[RemoteFile, ...] = ()
    if (url := url_of(given)) is not None:
        files = tuple(ask(_elsewhere(url)))
        paths = [place_of(file.url) for file in files]
    else:
        given = given.absolute()
        paths = _in_folder(given) if given.is_dir() else list(_expanded(given))
    if twice := next((path for i, path in enumerate(paths) if path in paths[:i]), None) if len(paths) < 100 else None:
        raise ConvsmithError(f"{printable(given)} names {printable(twice)} twice", "", "Name each shard once.")
    root = given if given.is_dir() else _root_of(paths)
    if files:
        _copy_classes(files[0], root)
    splits = [_split_of(path.relative_to(root)) for path in paths]
    if without := [path for path, split in zip(paths, splits, strict=True) if any(splits) and not split]:
        raise ConvsmithError(
            f"{len(without)} of {len(paths)} shards say no split, such as {printable(without[0])}",
            "others are of train, val or test, by their name or folder",
            "Rename them, such as to train-0000.tar, or move them elsewhere.",
        )
    return ShardPaths(root, tuple(paths), tuple(splits), files)


def _elsewhere(url: str) -> list[str]:
    """The addresses of the shards that one means."""
    if _ends_as_shard(url):
        found = [it for one in expand_braces(url) for it in (match_files(one) if glob.has_magic(one) else [one])]
    else:
        found = list_files(url, _ends_as_shard)
    if not found:
        raise ConvsmithError(f"no shards at {printable(url)}", "", "Check the address.")
    return found


def _copy_classes(file: RemoteFile, root: Path) -> None:
    """Copy the names of the classes beside shards, or remove a copy where there are none any more."""
    depth = len(place_of(file.url).relative_to(root).parts)
    content = read_text_file("/".join([*file.url.split("/")[:-depth], CLASSES_FILE]))
    if content is None:
        (root / CLASSES_FILE).unlink(missing_ok=True)
    else:
        root.mkdir(parents=True, exist_ok=True)
        write_file(root / CLASSES_FILE, content)


def _in_folder(folder: Path) -> list[Path]:
    """The shards of a folder, or of its folders of splits; none where there are other folders, which may be classes."""
    shards, others = _listed(folder)
    for name in others:
        below, deeper = _listed(folder / name)
        if name.casefold() not in PARTS or deeper or not below:
            return []
        shards += below
    return shards


def _listed(folder: Path) -> tuple[list[Path], list[str]]:
    """The shards directly in a folder, and the names of its folders, both sorted."""
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if not is_hidden(entry.name)]
    shards = [entry.name for entry in found if _ends_as_shard(entry.name) and not entry.is_dir()]
    folders = [entry.name for entry in found if entry.is_dir() and not is_no_data(entry.name)]
    return [folder / name for name in sorted(shards, key=os.fsencode)], sorted(folders, key=os.fsencode)


def _ends_as_shard(name: str) -> bool:
    return ENDING.search(name) is not None


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text) or _braces(text) is not None


def _expanded(given: Path) -> Iterator[Path]:
    """The files of a pattern, and the file itself where it is one."""
    if given.exists():
        yield given
        return
    for one in expand_braces(str(given)):
        found = sorted(glob.glob(one), key=os.fsencode) if glob.has_magic(one) else [one]  # noqa: PTH207 - absolute
        if not found:
            raise ConvsmithError(f"no file matches {printable(one)}", "", "Check the pattern.")
        for path in map(Path, found):
            if not path.is_file():
                raise ConvsmithError(
                    f"there is no {printable(path)}", f"{printable(given)} names it", "Check the pattern, or copy it."
                )
            yield path


def expand_braces(text: str) -> list[str]:
    """The texts that a pattern such as `{train,val}-{000..012}.tar` stands for, as shells have it.

    Raises:
        ConvsmithError: there are more than a million.
    """
    found = _braces(text)
    if found is None:
        return [text]
    if text.count("{") > _MOST_BRACES:
        raise ConvsmithError(f"{printable(text)} has more than {_MOST_BRACES} braces", "", "Check the pattern.")
    start, end, commas = found
    if limits := _RANGE.fullmatch(text[start + 1 : end]):
        first, last = map(int, limits.groups())
        width = max(map(len, limits.groups())) if any(it[0] == "0" for it in limits.groups()) else 0
        numbers = range(first, last + 1) if first <= last else range(first, last - 1, -1)
        words = [f"{number:0{width}}" for number in numbers[: _MOST + 1]]
    else:
        words = [one for a, b in pairwise([start, *commas, end]) for one in expand_braces(text[a + 1 : b])]
    behind = expand_braces(text[end + 1 :])
    if len(words) * len(behind) > _MOST:
        raise ConvsmithError(f"{printable(text)} names more than {_MOST:,} files", "", "Check the pattern.")
    return [f"{text[:start]}{word}{rest}" for word in words for rest in behind]


def _braces(text: str) -> tuple[int, int, list[int]] | None:
    """Where the first braces open and close, and the commas in them but for those of braces inside."""
    start, depth, commas = text.find("{"), 0, []
    for at in range(max(start, 0), len(text) if start >= 0 else 0):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 1 and text[at] == ",":
            commas.append(at)
        if not depth:
            return start, at, commas
    return None


def _root_of(paths: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([path.parent for path in paths]))


def _split_of(path: Path) -> str:
    """By its folder, else by a word of its name."""
    words = [*path.parent.parts, *re.split(r"[-_. ]+", path.name)]
    return next((PARTS[word.casefold()] for word in words if word.casefold() in PARTS), "")


def no_split(paths: ShardPaths, split: str) -> ConvsmithError:
    """The error for shards of which none is of a split that has to be there."""
    return ConvsmithError(
        f"none of the shards in {printable(paths.root)} is to {split} on",
        f"they are {quoted(paths.names(), 3)}",
        "Give the others too, or rename them: the split is a word of the name or of the folder.",
    )
