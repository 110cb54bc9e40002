"""Images, their labels and their masks as the arrays that an index keeps, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.data.contents import Contents
from convsmith.data.dataset import Split
from convsmith.data.folders.files import Files
from convsmith.data.group_split import Groups, PackedNames
from convsmith.data.image_data import ImageData
from convsmith.data.index import Index
from convsmith.data.kept_index import Arrays, Packed
from convsmith.data.masks.mask_data import MaskedPart
from convsmith.data.packed_labels import PackedLabels
from convsmith.data.tables.table_contents import TableContents
from convsmith.data.tables.table_rows import Table

_KINDS = ("images", "masks")


@dataclass(frozen=True)
class Home:
    """The places that the arrays do not name, since whoever opens them knows these.

    Attributes:
        files: the folder that the paths of files are relative to.
        data: the folder of the data.
        table: the table that names the files, if one does.
    """

    files: Path
    data: Path
    table: Table | None = None


def pack_images(data: ImageData) -> Packed | None:
    """The arrays of a data set; None where they do not name files."""
    arrays: dict[str, NDArray[Any]] = {}
    passing: dict[str, NDArray[Any]] = {}
    for split, index in (("train", data.train), ("val", data.val)):
        if not pack_contents(split, index.images, arrays, passing):
            return None
        arrays[f"{split}_targets"] = index.targets
        if index.labels is not None:
            arrays[f"{split}_members"], arrays[f"{split}_members_of"] = index.labels.members, index.labels.offsets
    count = len(data.train) + len(data.val)
    return Packed(count, arrays, data.notes, {"classes": data.classes}, passing)


def unpack_images(home: Home, packed: Packed) -> ImageData:
    """The data set of some arrays. KeyError or ValueError where they do not go together."""
    classes = tuple(packed.facts["classes"])

    def index(split: str) -> Index:
        labels, targets = None, packed.arrays[f"{split}_targets"]
        if (members := packed.arrays.get(f"{split}_members")) is not None:
            labels = PackedLabels(members, packed.arrays[f"{split}_members_of"], len(classes))
        images = unpack_contents(split, home, packed)
        if len(images) != len(targets) or (labels is not None and len(labels) != len(targets)):
            raise ValueError
        return Index(images, targets, labels)

    return ImageData(home.data, classes, index("train"), index("val"), packed.notes)


def pack_contents(
    prefix: str, contents: Contents, arrays: dict[str, NDArray[Any]], passing: dict[str, NDArray[Any]]
) -> bool:
    """Add the arrays of some contents to others, if they name files, and say whether they do."""
    files = contents.items if isinstance(contents, TableContents) else contents
    if not isinstance(files, Files):
        return False
    arrays |= {f"{prefix}_{name}": array for name, array in _arrays_of(contents, files)}
    if "stats" in files.__dict__:
        passing[f"{prefix}_stats"] = files.stats
    return True


def _arrays_of(contents: Contents, files: Files) -> Iterator[tuple[str, NDArray[Any]]]:
    yield from zip(("buffer", "offsets"), files.key, strict=True)
    if contents.groups is not None:
        names = PackedNames.pack(contents.groups.names)
        yield from (("groups", contents.groups.of), ("names", names.buffer), ("names_of", names.offsets))
    if isinstance(contents, TableContents):
        yield from (("rows", contents.rows), ("also", np.frombuffer(contents.also, np.uint8)))
        if contents.weights is not None:
            yield "weights", contents.weights


def unpack_contents(prefix: str, home: Home, packed: Packed) -> Contents:
    """The contents of some arrays. KeyError or ValueError where they do not go together."""
    arrays: Arrays = {
        name.removeprefix(f"{prefix}_"): array for name, array in packed.arrays.items() if name.startswith(f"{prefix}_")
    }
    groups = None
    if "groups" in arrays:
        groups = Groups(arrays["groups"], PackedNames(arrays["names"], arrays["names_of"]))
    files = Files(home.files, arrays["buffer"], arrays["offsets"], None if home.table else groups)
    if arrays["offsets"][-1] != len(arrays["buffer"]):
        raise ValueError
    if (stats := packed.passing.get(f"{prefix}_stats")) is not None:
        files.stats = stats
    if home.table is None:
        return files
    if len(files) != len(arrays["rows"]):
        raise ValueError
    weights, also = arrays.get("weights"), arrays["also"].tobytes()
    return TableContents(files, arrays["rows"], home.table, weights, groups, also)


FoundPairs = tuple[Mapping[Split, MaskedPart], Sequence[str]]
"""The images and masks of each split, and lines worth printing."""


def pack_parts(parts: FoundPairs) -> Packed | None:
    """The arrays of images and their masks; None where they do not name files."""
    arrays: dict[str, NDArray[Any]] = {}
    passing: dict[str, NDArray[Any]] = {}
    splits, notes = parts
    for split, of_split in splits.items():
        for kind, contents in zip(_KINDS, of_split, strict=True):
            if not pack_contents(f"{split}_{kind}", contents, arrays, passing):
                return None
    count = sum(len(images) for images, _ in splits.values())
    return Packed(count, arrays, tuple(notes), {"splits": [*splits]}, passing)


def unpack_parts(home: Home, packed: Packed) -> FoundPairs:
    """The images and masks of some arrays. KeyError or ValueError where they do not go together."""
    splits: dict[Split, MaskedPart] = {}
    for split in packed.facts["splits"]:
        images, masks = (unpack_contents(f"{split}_{kind}", home, packed) for kind in _KINDS)
        if len(images) != len(masks):
            raise ValueError
        splits[split] = images, masks
    return splits, packed.notes
