"""Polygons and runs of pixels in COCO's JSON: `images`, `annotations`, `categories`."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from convsmith.data.polygons.annotation_files import (
    ImagePlaces,
    check_size,
    check_text,
    head_of,
    members_of,
    relative,
)
from convsmith.data.polygons.found import Found, part_of
from convsmith.data.polygons.outlines import OutlinedImage, Outlines, Runs, Shape, corners_of, refused
from convsmith.data.polygons.run_lengths import check_runs, unpack_runs
from convsmith.errors import ConvsmithError, counted, printable, quoted

_FIRST_KEY = re.compile(rb'(?:\xef\xbb\xbf)?\s*{\s*"(info|licenses|images|annotations|categories|type)"')
_OTHER_TASKS = ("captions", "person_keypoints", "image_info", "panoptic", "stuff", "sama", "lvis_v1_image_info")
_IMAGES = ("", "images", "data", "JPEGImages")

Id = int | str


def find(path: Path) -> Found | None:
    """The JSON files at a path: itself, or those in a folder, its `annotations` and its parts."""
    if path.is_file():
        return Found(path, path.absolute().parent, ((path, ""),)) if _is_coco(path) else None
    files = [file for folder in _folders(path) for file in sorted(folder.glob("*.json")) if _is_coco(file)]
    files = [file for file in files if not file.name.startswith(_OTHER_TASKS)]
    if instances := [file for file in files if file.name.startswith("instances")]:
        files = instances
    parts = tuple((file, part_of(file.stem) or part_of(file.relative_to(path).parent.name)) for file in files)
    return Found(path, path.absolute(), parts) if parts else None


def _folders(path: Path) -> Iterator[Path]:
    yield path
    for folder in sorted(path.iterdir()):
        if folder.is_dir() and (folder.name in ("annotations", "Annotations") or part_of(folder.name)):
            yield folder


def _is_coco(path: Path) -> bool:
    return path.suffix.lower() == ".json" and _FIRST_KEY.match(head_of(path)) is not None


def read(found: Found, images_dir: str | None) -> Outlines:
    """The images and areas in COCO's files.

    Where areas overlap, the smaller one is above: their order in the file means nothing, and a cup on a table would
    be lost under it. A crowd does not count where nothing else is.
    """
    labels: list[str] = []
    notes: list[str] = []
    images = _images(found, images_dir, labels, notes)
    return Outlines(found.path, found.root, images, small_above=True, labels=labels, notes=notes)


def _images(found: Found, images_dir: str | None, labels: list[str], notes: list[str]) -> Iterator[OutlinedImage]:
    without_area = 0
    for path, part in found.files:
        file = _read(path)
        names = [file.categories[key] for key in sorted(file.categories, key=lambda key: (isinstance(key, str), key))]
        if labels and names != labels:
            raise ConvsmithError(
                f"{printable(path)} has other categories than {printable(found.files[0][0])}",
                f"they are {quoted(names)}, and {quoted(labels)} there",
                "Let both have the same, in the same order of their ids.",
            )
        labels[:] = names
        without_area += file.without_area
        places = ImagePlaces(found.root, _folders_of_images(path, found.root, images_dir))
        for key, (name, size) in file.images.items():
            shapes = tuple(
                Shape(None if crowd else file.categories[category], areas, f"annotation {annotation}")
                for annotation, category, crowd, areas in file.areas.get(key, ())
            )
            yield OutlinedImage(places.find(name), size, part, shapes, f"image {key}")
    if without_area:
        notes.append(f"left out: {counted(without_area, 'annotation')} without a `segmentation`")


def _folders_of_images(path: Path, root: Path, images_dir: str | None) -> list[str]:
    """Where the images of a file may lie, in folders with the name of its part or above them."""
    words = [path.stem.rpartition("_")[2], ""]  # such as train2017 of instances_train2017
    if images_dir is not None:
        return [relative(root / images_dir / word, root) for word in words]
    here = path.absolute().parent
    return [relative(above / name / word, root) for word in words for above in (here, here.parent) for name in _IMAGES]


@dataclass
class _File:
    images: dict[Id, tuple[str, tuple[int, int]]] = field(default_factory=dict)
    categories: dict[Id, str] = field(default_factory=dict)
    areas: dict[Id, list[tuple[Id, Id, bool, tuple[array[float] | Runs, ...]]]] = field(default_factory=dict)
    annotations: int = 0
    without_area: int = 0


def _read(path: Path) -> _File:
    file = _File()
    numbers = {"images": 0, "annotations": 0, "categories": 0}
    take = {"images": _take_image, "annotations": _take_annotation, "categories": _take_category}
    for key, value in members_of(path):
        if key not in take:
            continue
        numbers[key] += 1
        what = f"entry {numbers[key]:,} of `{key}`"
        try:
            if not isinstance(value, dict):
                raise ValueError("is not an object")
            if key != "annotations" or "id" in value:
                what = f"{key.removesuffix('s').replace('ie', 'y')} {_id(value.get('id'))}"
            take[key](file, value)
        except ValueError as error:
            raise refused(path, what, str(error)) from error
    if not file.images or not file.categories:
        lacking = "images" if not file.images else "categories"
        raise ConvsmithError(f"{printable(path)} has no `{lacking}`", "", "Give annotations in COCO's JSON.")
    if file.annotations and file.without_area == file.annotations:
        why = "they have no `segmentation`: are they boxes alone?"
        raise ConvsmithError(f"no annotation of {printable(path)} outlines an area", why, "Give polygons, or masks.")
    _check_references(path, file)
    return file


def _check_references(path: Path, file: _File) -> None:
    for image, areas in file.areas.items():
        for annotation, category, _, parts in areas:
            if image not in file.images:
                raise refused(path, f"annotation {annotation}", f"is of the image {image}, which is not among `images`")
            if category not in file.categories:
                why = f"is of the category {category}, which is not among `categories`"
                raise refused(path, f"annotation {annotation}", why)
            width, height = file.images[image][1]
            for part in parts:
                if isinstance(part, Runs) and part.box[2:] != (width, height):
                    why = f"is an RLE of {part.box[2]} x {part.box[3]} pixels; image {image} has {width} x {height}"
                    raise refused(path, f"annotation {annotation}", why)


def _take_image(file: _File, value: dict[str, object]) -> None:
    key = _id(value.get("id"))
    if key in file.images:
        raise ValueError("is there twice")
    name = check_text(value.get("file_name"), "a `file_name`")
    file.images[key] = name, check_size(value.get("width"), value.get("height"))


def _take_category(file: _File, value: dict[str, object]) -> None:
    key, name = _id(value.get("id")), check_text(value.get("name"), "a `name`").strip()
    if key in file.categories:
        raise ValueError("is there twice")
    if name in file.categories.values():
        raise ValueError(f"has the name `{name}` of another one")
    file.categories[key] = name


def _take_annotation(file: _File, value: dict[str, object]) -> None:
    file.annotations += 1
    areas = _areas(value.get("segmentation"))
    if not areas:
        file.without_area += 1
        return
    crowd = value.get("iscrowd") in (1, True)
    entry = (_id(value.get("id", file.annotations)), _id(value.get("category_id")), crowd, areas)
    file.areas.setdefault(_id(value.get("image_id")), []).append(entry)


def _areas(segmentation: object) -> tuple[array[float] | Runs, ...]:
    if segmentation is None or segmentation == [] or segmentation == {}:
        return ()
    if isinstance(segmentation, dict):
        return (_runs(segmentation),)
    if not isinstance(segmentation, list):
        raise ValueError("has a `segmentation` that is neither polygons nor an RLE")
    if not isinstance(segmentation[0], list | dict):
        segmentation = [segmentation]
    return tuple(_runs(it) if isinstance(it, dict) else corners_of(it) for it in segmentation)


def _runs(rle: dict[str, object]) -> Runs:
    size, counts = rle.get("size"), rle.get("counts")
    if not isinstance(size, list) or len(size) != 2 or any(type(side) is not int or side < 1 for side in size):
        raise ValueError("has an RLE without a `size` [height, width]")
    height, width = size
    if isinstance(counts, str):
        found = check_runs(unpack_runs(counts), height * width)
    elif isinstance(counts, list):
        found = check_runs(counts, height * width)
    else:
        raise ValueError("has an RLE without `counts`")
    return Runs((0, 0, width, height), found, by_columns=True)


def _id(value: object) -> Id:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int and not isinstance(value, str):
        raise ValueError("has an id that is neither a whole number nor text, or none")
    return value
