"""Facts about each split that a look at its samples tells: what a person asks first of data that are new to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convsmith.data.checks.kinds import count_kinds
from convsmith.data.checks.look import Looks
from convsmith.data.checks.names import MOST_NAMED, all_names
from convsmith.data.checks.signs import SIGNS, suspicious
from convsmith.data.dataset import DataSet, Findings, Split, splits
from convsmith.errors import counted

Size = tuple[int, int]
"""Height and width in pixels."""


class Sizes(NamedTuple):
    """The sizes of images by their number of pixels; the median is that of an image that there is."""

    smallest: Size
    median: Size
    largest: Size


@dataclass(frozen=True)
class SplitFacts:
    """Facts about one split.

    Attributes:
        images: how many there are.
        classes: how often each class is there, in images or in pixels of masks.
        sizes: of those that can be read; None if there are none.
        kinds: how many of these there are of each format and mode, such as `JPEG RGB`, the most frequent first.
    """

    images: int
    classes: tuple[int, ...]
    sizes: Sizes | None
    kinds: dict[str, int]

    def __str__(self) -> str:
        """`1,438 images, 8 x 8 to 16 x 8 pixels (median 8 x 8), PNG L`."""
        return ", ".join([counted(self.images, "image"), *self._looks()])

    def _looks(self) -> list[str]:
        if self.sizes is None:
            return []
        smallest, median, largest = map(in_pixels, self.sizes)
        span = smallest if smallest == largest else f"{smallest} to {largest}"
        middle = "" if smallest == largest else f" (median {median})"
        kinds = [f"{count:,} {kind}" for kind, count in self.kinds.items()]
        return [f"{span} pixels{middle}", *(kinds if len(kinds) > 1 else self.kinds)]


@dataclass(frozen=True)
class Suspects:
    """Images that can be read, but are probably not what was meant.

    Attributes:
        sign: why, in words.
        images: how many there are.
        files: the names of the first of them, at most `MOST_NAMED`, as printable text.
    """

    sign: str
    images: int
    files: tuple[str, ...]

    def __str__(self) -> str:
        """`2 images, all of one colour, such as a.png`, where it is two."""
        return f"{counted(self.images, 'image')}: {self.sign}, such as {self.files[0]}"


def split_facts(dataset: DataSet, looks: Mapping[Split, Looks]) -> dict[Split, SplitFacts]:
    """The facts about each split."""
    return {
        split: SplitFacts(
            len(samples),
            tuple(dataset.class_counts(split, looks[split]).tolist()),
            _sizes(looks[split].rows),
            count_kinds(looks[split].rows["kind"][looks[split].rows["height"] > 0]),
        )
        for split, samples in splits(dataset).items()
    }


def _balance(dataset: DataSet, facts: SplitFacts) -> str:
    """The counts of the classes in short: `; 10 classes of 174 to 183 images (median 180)`."""
    if dataset.counted == "pixels":
        return ""  # their shares are a line of their own
    counts = np.array(facts.classes)
    fewest, middle, most = int(counts.min()), int(np.median(counts)), int(counts.max())
    if fewest == most:
        return f"; {len(counts):,} classes of {most:,} each"
    return f"; {len(counts):,} classes of {fewest:,} to {most:,} images (median {middle:,})"


def suspects(dataset: DataSet, looks: Mapping[Split, Looks]) -> list[Suspects]:
    """The images that are probably not what was meant, by the sign of it."""
    name = all_names(dataset)
    found = suspicious(np.concatenate([looks[split].rows[["height", "width", "signs"]] for split in splits(dataset)]))
    return [
        Suspects(sign, len(found[sign]), tuple(map(name, found[sign][:MOST_NAMED]))) for sign in SIGNS if sign in found
    ]


def short_facts(dataset: DataSet, looks: Mapping[Split, Looks]) -> Findings:
    """A line about each split, and a warning for each sign that images are not what was meant."""
    lines = [f"{split}: {facts}{_balance(dataset, facts)}" for split, facts in split_facts(dataset, looks).items()]
    return Findings(lines, [str(found) for found in suspects(dataset, looks)])


def in_pixels(size: Size) -> str:
    """`640 x 480`: width and height."""
    return f"{size[1]} x {size[0]}"


def _sizes(rows: NDArray[np.void]) -> Sizes | None:
    good = rows[rows["height"] > 0]
    if not len(good):
        return None
    area = good["height"].astype(np.int64) * good["width"]
    order = np.lexsort((good["height"], area))
    places = order[[0, (len(order) - 1) // 2, -1]]
    return Sizes(*((int(good["height"][i]), int(good["width"][i])) for i in places))
