"""Images and areas in them as a file says them, whatever its format."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from convsmith.errors import ConvsmithError, printable

Part = Literal["", "train", "val", "test"]
"""The split that an image is of; empty where nothing says it."""

BACKGROUND = ("background", "_background_", "__background__")
"""Names, in lower case, of a class that is all that no area covers."""

PARTS: dict[str, Part] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True)
class Runs:
    """Pixels of a box of an image as runs that are out of the area and in it by turns.

    Attributes:
        box: left, top, width and height in pixels.
        counts: the length of each run, int64.
        by_columns: they go down column after column, else row after row.
    """

    box: tuple[int, int, int, int]
    counts: NDArray[np.int64]
    by_columns: bool


@dataclass(frozen=True)
class Shape:
    """An area of an image.

    Attributes:
        label: the name of its class; None: its pixels do not count, where no other area covers them.
        areas: polygons, as x and y of each corner in turn, and runs; all of them together are the area.
        name: what messages call it, as in `annotation 17`.
    """

    label: str | None
    areas: tuple[array[float] | Runs, ...]
    name: str


@dataclass(frozen=True)
class OutlinedImage:
    """An image with areas.

    Attributes:
        path: relative to the folder of all, as text.
        size: width and height in pixels; None where the file does not say it, and corners are shares of them.
        part: its split.
        shapes: the areas, later ones above earlier ones.
        name: what messages call what was said of it.
    """

    path: str
    size: tuple[int, int] | None
    part: Part
    shapes: tuple[Shape, ...]
    name: str


@dataclass(frozen=True)
class Outlines:
    """All that was found at a path.

    Attributes:
        path: what was read.
        root: the folder that the paths of images are relative to.
        images: asked for one after another. A ConvsmithError, as they are reached, for what cannot be meant.
        small_above: smaller areas lie above larger ones, whatever their order.
        labels: the classes in their order, complete when the images have been asked for; None or empty: those that
            occur, sorted.
        notes: lines worth printing, complete like them.
    """

    path: Path
    root: Path
    images: Iterable[OutlinedImage]
    small_above: bool
    labels: list[str] | None = None
    notes: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[OutlinedImage]:
        return iter(self.images)


def numbers_of(values: object, what: str) -> array[float]:
    """The numbers in a list of a file. ValueError, which says `what` it is, if it holds anything else."""
    if not isinstance(values, list) or not {int, float}.issuperset(map(type, values)):
        raise ValueError(f"has {what} that is not a list of numbers")
    try:
        return array("d", values)
    except OverflowError as error:
        raise ValueError(f"has {what} with a number beyond any image") from error


def corners_of(values: object) -> array[float]:
    """The corners in a list of x and y by turns. ValueError if it is none."""
    found = numbers_of(values, "a polygon")
    if len(found) % 2:
        raise ValueError(f"has a polygon of {len(found)} numbers, an odd count")
    return found


def box_corners(left: float, top: float, right: float, bottom: float) -> array[float]:
    """The corners of a rectangle."""
    return array("d", (left, top, right, top, right, bottom, left, bottom))


def ellipse_corners(x: float, y: float, horizontal: float, vertical: float, degrees: float = 0.0) -> array[float]:
    """The corners of a polygon of 360 corners on an ellipse around x, y."""
    angles = np.radians(np.arange(360))
    points = np.stack([x + horizontal * np.cos(angles), y + vertical * np.sin(angles)], axis=1)
    return turned(array("d", points.reshape(-1).tolist()), (x, y), degrees)


def turned(corners: array[float], around: tuple[float, float], degrees: float) -> array[float]:
    """Corners turned clockwise, as an image is shown, around a point."""
    if not degrees:
        return corners
    angle = np.radians(degrees % 360)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points = (np.frombuffer(corners, np.float64).reshape(-1, 2) - around) @ turn + around
    return array("d", points.reshape(-1).tolist())


def refused(path: Path, what: Any, why: str, fix: str = "Correct the file.") -> ConvsmithError:
    """The error for something in a file, `what` being its name, that cannot be meant."""
    return ConvsmithError(f"{what} of {printable(path)} {why}", "", fix)
