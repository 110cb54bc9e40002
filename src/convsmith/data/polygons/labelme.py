"""Areas in labelme's JSON: a file for each image, beside it."""

from __future__ import annotations

import base64
import binascii
import os
from array import array
from collections import Counter
from collections.abc import Iterator
from math import hypot
from pathlib import Path

import numpy as np

from convsmith.bundle.images.image_error import ImageError
from convsmith.data.classes import read_class_names
from convsmith.data.folders.scan import held, images_below, list_folder
from convsmith.data.masks.mask_pixels import decode_pixels
from convsmith.data.polygons.annotation_files import (
    ImagePlaces,
    check_size,
    check_text,
    head_of,
    read_json,
    relative,
)
from convsmith.data.polygons.found import Found, part_of
from convsmith.data.polygons.outlines import (
    OutlinedImage,
    Outlines,
    Runs,
    Shape,
    box_corners,
    ellipse_corners,
    numbers_of,
    refused,
)
from convsmith.errors import ConvsmithError, printable, quoted
from convsmith.recipe.mask_data import check_names

_LOOKED_AT = 8  # JSON files of a folder, to see whether one is labelme's
_IGNORED = "__ignore__"
_NAMES = "labels.txt"
_NO_AREA = ("point", "points", "line", "linestrip")


def find(path: Path) -> Found | None:
    """The JSON files at a path: itself, or all in a folder if some in it, or in its parts, are labelme's."""
    if path.is_file():
        return Found(path, path.absolute().parent, ((path, ""),)) if _is_labelme(path) else None
    parts = [path / name for name in list_folder(path).folders if part_of(name)]
    if not any(_has_labelme(folder) for folder in (path, *parts)):
        return None
    root = path.absolute()
    files = [Path(os.fsdecode(name)) for name in images_below(root, "", Counter(), (".json",))]
    ours = [(root / name, part_of(name.parts[0]) if len(name.parts) > 1 else "") for name in files]
    return Found(path, root, tuple((file, part) for file, part in ours if _is_labelme(file)))


def _has_labelme(folder: Path) -> bool:
    files = sorted(folder.glob("*.json"))[:_LOOKED_AT]
    return any(map(_is_labelme, files))


def _is_labelme(path: Path) -> bool:
    head = head_of(path)
    return (
        path.suffix.lower() == ".json"
        and head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
        and (b'"shapes"' in head or b'"imageData"' in head)
    )


def read(found: Found, images_dir: str | None) -> Outlines:
    """The images and areas in labelme's files.

    Where areas overlap, the later one of the list is above, as labelme itself draws them.
    """
    names = found.root / _NAMES
    labels = [name for name in read_class_names(names, check_names) if name != _IGNORED] if names.is_file() else None
    notes: list[str] = []
    images = _images(found, images_dir, notes)
    return Outlines(found.path, found.root, images, small_above=False, labels=labels, notes=notes)


def _images(found: Found, images_dir: str | None, notes: list[str]) -> Iterator[OutlinedImage]:
    left_out: Counter[str] = Counter()
    places = ImagePlaces(found.root, [images_dir or ""])
    for path, part in found.files:
        value = read_json(path)
        name = relative(path, found.root)
        try:
            if not isinstance(value, dict) or not isinstance(value.get("shapes"), list):
                raise ValueError("has no list of `shapes`")
            size = check_size(value.get("imageWidth"), value.get("imageHeight"))
            image = check_text(value.get("imagePath"), "an `imagePath`")
            shapes: list[Shape] = []
            for number, shape in enumerate(value["shapes"], 1):
                try:
                    shapes += _shape(shape, size, f"shape {number}", left_out)
                except ValueError as error:
                    raise refused(path, f"shape {number}", str(error)) from error
        except ValueError as error:
            raise ConvsmithError(f"{printable(path)} {error}", "", "Save it with labelme again.") from error
        here = [] if images_dir is not None else [relative(path.parent, found.root)]
        yield OutlinedImage(places.find(image, *here), size, part, tuple(shapes), printable(name))
    if left_out:
        notes.append(f"left out, without an area: {held(left_out)}")


def _shape(value: object, size: tuple[int, int], name: str, left_out: Counter[str]) -> Iterator[Shape]:
    if not isinstance(value, dict):
        raise ValueError("is not an object")
    label = check_text(value.get("label"), "a `label`").strip()
    kind = value.get("shape_type") or "polygon"
    if kind in _NO_AREA:
        left_out[str(kind)] += 1
        return
    points = value.get("points")
    if not isinstance(points, list) or any(not isinstance(point, list) or len(point) != 2 for point in points):
        raise ValueError("has no list of `points`, x and y each")
    corners = numbers_of([number for point in points for number in point], "points")
    yield Shape(None if label == _IGNORED else label, (_area(kind, corners, value.get("mask"), size),), name)


def _area(kind: object, corners: array[float], mask: object, size: tuple[int, int]) -> array[float] | Runs:
    if kind == "polygon":
        return corners
    if kind not in ("rectangle", "circle", "mask"):
        raise ValueError(
            f"is of the kind {printable(str(kind))}; known are {quoted(['polygon', 'rectangle', 'circle', 'mask'])}"
        )
    if len(corners) != 4:
        raise ValueError(f"is a {kind} of {len(corners) // 2} points, not two")
    x, y, far_x, far_y = corners
    if kind == "rectangle":
        return box_corners(x, y, far_x, far_y)
    if kind == "circle":
        radius = hypot(far_x - x, far_y - y)
        return ellipse_corners(x, y, radius, radius)
    return _mask(mask, (round(x), round(y)), size)


def _mask(text: object, corner: tuple[int, int], size: tuple[int, int]) -> Runs:
    """The pixels of a picture in base64 whose first corner lies at a pixel of the image; what is beyond is cut off."""
    try:
        pixels = decode_pixels(base64.b64decode(check_text(text, "a `mask`"), validate=True), "its mask")
    except (binascii.Error, ImageError) as error:
        raise ValueError(f"has a mask that cannot be read: {error}") from error
    if pixels.ndim != 2:
        raise ValueError("has a mask in colour")
    x, y = corner
    inside = pixels[max(-y, 0) : max(size[1] - y, 0), max(-x, 0) : max(size[0] - x, 0)] > 0
    if not inside.size:
        raise ValueError(f"has a mask at x {x}, y {y}, outside of the image of {size[0]} x {size[1]} pixels")
    flat = np.concatenate([[False], inside.reshape(-1)])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], changes, [inside.size]]))
    return Runs((max(x, 0), max(y, 0), inside.shape[1], inside.shape[0]), counts.astype(np.int64), by_columns=False)
