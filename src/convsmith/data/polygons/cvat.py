"""Areas in CVAT's XML, `CVAT for images 1.1`, parsed without entities, whatever they say."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from convsmith.data.folders.scan import held
from convsmith.data.polygons.annotation_files import ImagePlaces, check_text, head_of, read_text, relative
from convsmith.data.polygons.found import Found, part_of
from convsmith.data.polygons.outlines import (
    OutlinedImage,
    Outlines,
    Runs,
    Shape,
    box_corners,
    ellipse_corners,
    refused,
    turned,
)
from convsmith.errors import ConvsmithError, printable, quoted

_NO_AREA = ("polyline", "points", "cuboid", "skeleton", "tag")
_AREAS = ("polygon", "box", "ellipse", "mask")
_LABEL = ["annotations", "meta", "*", "labels", "label", "name"]
_IMAGES = ("", "images")
_CHUNK = 2**16  # characters handed to the parser at once

Facts = Mapping[str, str]


def find(path: Path) -> Found | None:
    """The XML files at a path: itself, or those in a folder and in its parts."""
    if path.is_file():
        return Found(path, path.absolute().parent, ((path, ""),)) if _is_cvat(path) else None
    folders = [path, *(folder for folder in sorted(path.iterdir()) if folder.is_dir() and part_of(folder.name))]
    files = [file for folder in folders for file in sorted(folder.glob("*.xml")) if _is_cvat(file)]
    parts = tuple((file, part_of(file.stem) or part_of(file.relative_to(path).parent.name)) for file in files)
    return Found(path, path.absolute(), parts) if parts else None


def _is_cvat(path: Path) -> bool:
    return path.suffix.lower() == ".xml" and b"<annotations" in head_of(path)


def read(found: Found, images_dir: str | None) -> Outlines:
    """The images and areas in CVAT's files.

    Where areas overlap, that of the higher `z_order` is above, and of the same the later one, as CVAT shows them.
    """
    labels: list[str] = []
    notes: list[str] = []
    images = _images(found, images_dir, labels, notes)
    return Outlines(found.path, found.root, images, small_above=False, labels=labels, notes=notes)


def _images(found: Found, images_dir: str | None, labels: list[str], notes: list[str]) -> Iterator[OutlinedImage]:
    left_out: Counter[str] = Counter()
    for path, part in found.files:
        reader = _Reader(path)
        here = path.absolute().parent
        folders = [relative(here / name, found.root) for name in _IMAGES] if images_dir is None else [images_dir]
        places = ImagePlaces(found.root, folders)
        for facts, shapes in reader.images():
            name = f"image {printable(facts.get('name', ''))}"
            try:
                image = check_text(facts.get("name"), "a `name`")
                size = (int(_number(facts, "width")), int(_number(facts, "height")))
                areas = [
                    _shape(number, kind, of_shape)
                    for number, (kind, of_shape) in enumerate(shapes, 1)
                    if kind in _AREAS
                ]
            except ValueError as error:
                raise refused(path, name, str(error)) from error
            left_out.update(kind for kind, _ in shapes if kind not in _AREAS)
            subset = facts.get("subset", "")
            inside = [f"{folder}/{subset}" if folder else subset for folder in folders] if subset else []
            above = tuple(shape for _, shape in sorted(areas, key=lambda area: area[0]))
            yield OutlinedImage(places.find(image, *inside), size, part_of(subset) or part, above, name)
        if labels and reader.labels and reader.labels != labels:
            why = f"they are {quoted(reader.labels)}, and {quoted(labels)} before"
            raise ConvsmithError(f"{printable(path)} has other labels than another file", why, "Let all have the same.")
        labels[:] = reader.labels or labels
    if left_out:
        notes.append(f"left out, without an area: {held(left_out)}")


class _Reader:
    """Reads one file, image after image."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.labels: list[str] = []
        self._above: list[str] = []
        self._text: list[str] = []
        self._image: Facts | None = None
        self._shapes: list[tuple[str, Facts]] = []
        self._done: list[tuple[Facts, list[tuple[str, Facts]]]] = []

    def images(self) -> Iterator[tuple[Facts, list[tuple[str, Facts]]]]:
        """The attributes of each image, and the name and the attributes of each of its shapes."""
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = self._refuse_doctype
        parser.StartElementHandler, parser.EndElementHandler = self._begin, self._end
        parser.CharacterDataHandler = self._add_text
        text = read_text(self.path)
        try:
            for first in range(0, len(text), _CHUNK):
                parser.Parse(text[first : first + _CHUNK])
                yield from self._done
                self._done.clear()
            parser.Parse("", True)
        except expat.ExpatError as error:
            raise ConvsmithError(f"{printable(self.path)} is not XML", str(error), "Export it again.") from error
        yield from self._done

    def _refuse_doctype(self, *_: Any) -> None:
        why = "it declares a document type, which could define entities"
        raise ConvsmithError(f"{printable(self.path)} is not CVAT's XML", why, "Export it again.")

    def _begin(self, name: str, facts: Facts) -> None:
        self._above.append(name)
        self._text.clear()
        if name == "track" and len(self._above) == 2:
            why = "it has tracks through a video, of which the images are not beside it"
            raise ConvsmithError(
                f"{printable(self.path)} is CVAT's XML for video", why, "Export `CVAT for images 1.1`."
            )
        if self._above == ["annotations", "image"]:
            self._image, self._shapes = facts, []
        elif self._image is not None and len(self._above) == 3:
            if name not in (*_AREAS, *_NO_AREA):
                raise refused(
                    self.path, f"image {self._image.get('name')}", f"has a shape of the kind {printable(name)}"
                )
            self._shapes.append((name, facts))

    def _end(self, _name: str) -> None:
        if len(self._above) == 6 and [*self._above[:2], "*", *self._above[3:]] == _LABEL:
            self.labels.append("".join(self._text).strip())
        if self._above == ["annotations", "image"] and self._image is not None:
            self._done.append((self._image, self._shapes))
            self._image = None
        self._above.pop()

    def _add_text(self, text: str) -> None:
        if self._above[-1:] == ["name"]:
            self._text.append(text)


def _shape(number: int, kind: str, facts: Facts) -> tuple[int, Shape]:
    """The `z_order` of a shape, and the shape."""
    name = f"{kind} {number}"
    try:
        label = check_text(facts.get("label"), "a `label`").strip()
        order = int(_number(facts, "z_order")) if "z_order" in facts else 0
        return order, Shape(label, (_area(kind, facts),), name)
    except ValueError as error:
        raise ValueError(f"has a {name} that {error}") from error


def _area(kind: str, facts: Facts) -> array[float] | Runs:
    if kind == "polygon":
        pairs = [point.split(",") for point in facts.get("points", "").split(";") if point.strip()]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError("has `points` that are not x,y;x,y")
        return array("d", map(float, (number for pair in pairs for number in pair)))
    turn = _number(facts, "rotation") if "rotation" in facts else 0.0
    if kind == "box":
        left, top, right, bottom = (_number(facts, key) for key in ("xtl", "ytl", "xbr", "ybr"))
        return turned(box_corners(left, top, right, bottom), ((left + right) / 2, (top + bottom) / 2), turn)
    if kind == "ellipse":
        x, y, horizontal, vertical = (_number(facts, key) for key in ("cx", "cy", "rx", "ry"))
        return ellipse_corners(x, y, horizontal, vertical, turn)
    left, top, width, height = (int(_number(facts, key)) for key in ("left", "top", "width", "height"))
    counts = [int(count) for count in facts.get("rle", "").split(",") if count.strip()]
    if any(not 0 <= count < 2**40 for count in counts):
        raise ValueError("has counts in its `rle` that are beyond any image")
    return Runs((left, top, width, height), np.array(counts, np.int64), by_columns=False)


def _number(facts: Facts, key: str) -> float:
    try:
        value = float(facts[key])
    except (KeyError, ValueError):
        raise ValueError(f"has no number `{key}`") from None
    if not abs(value) < 2**31:
        raise ValueError(f"has the number {value:g} as `{key}`")
    return value
