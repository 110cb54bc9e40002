"""Polygons in YOLO's text files, a line for each, with the `data.yaml` that names classes and parts."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from convsmith.data.folders.scan import images_below
from convsmith.data.polygons.annotation_files import check_text, read_text, relative
from convsmith.data.polygons.found import Found
from convsmith.data.polygons.outlines import OutlinedImage, Outlines, Part, Shape, refused
from convsmith.errors import ConvsmithError, counted, printable

_ENDINGS = (".yaml", ".yml")
_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_LONGEST = 2**18  # bytes of such a file
_KEYS: dict[str, Part] = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def find(path: Path) -> Found | None:
    """The `data.yaml` that a path is, or that lies in it."""
    files = [path] if path.is_file() else [path / name for name in _NAMES]
    for file in files:
        if file.suffix.lower() in _ENDINGS and file.is_file() and _is_yolo(file):
            return Found(path, file.absolute().parent, ((file, ""),))
    return None


def _is_yolo(path: Path) -> bool:
    try:
        facts = _facts(path)
    except ConvsmithError:
        return False
    return "names" in facts and "train" in facts


def _facts(path: Path) -> Mapping[str, object]:
    try:
        value = yaml.safe_load(read_text(path, _LONGEST))  # a recipe's reader has no numbers as keys
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConvsmithError(f"{printable(path)} is not YAML", str(error), "Correct the file.") from error
    return value if isinstance(value, dict) else {}


def read(found: Found, images_dir: str | None) -> Outlines:
    """The images and areas of a `data.yaml`.

    Where areas overlap, the smaller one is above, as YOLO's own training has them.
    """
    path = found.files[0][0]
    facts = _facts(path)
    labels = _labels(path, facts.get("names"))
    notes: list[str] = []
    if images_dir is not None:
        raise ConvsmithError(
            f"data.masks.images_dir does nothing beside {printable(path)}", "it says where images are", "Leave it out."
        )
    images = _images(path, found.root, facts, labels, notes)
    return Outlines(found.path, found.root, images, small_above=True, labels=labels, notes=notes)


def _labels(path: Path, names: object) -> list[str]:
    if isinstance(names, dict):
        places = sorted(names, key=lambda key: int(key) if str(key).isdecimal() else -1)
        if [str(place) for place in places] != [str(place) for place in range(len(places))]:
            raise refused(path, "`names`", "does not number the classes from 0 on")
        names = [names[place] for place in places]
    if not isinstance(names, list):
        raise refused(path, "`names`", "is not a list of classes")
    try:
        return [check_text(str(name) if isinstance(name, int) else name, "a class").strip() for name in names]
    except ValueError as error:
        raise refused(path, "`names`", str(error)) from error


def _images(
    path: Path, root: Path, facts: Mapping[str, object], labels: list[str], notes: list[str]
) -> Iterator[OutlinedImage]:
    without = 0
    for key, part in _KEYS.items():
        said = facts.get(key)
        for place in said if isinstance(said, list) else [said]:
            if place is None or place == "":
                continue
            for image in _images_at(path, root, facts, key, place):
                file = _label_file(root, image)
                shapes = () if file is None else tuple(_shapes(file, labels))
                without += file is None
                yield OutlinedImage(image, None, part, shapes, printable(file) if file else f"image {printable(image)}")
    if without:
        notes.append(f"{counted(without, 'image')} without a file of labels: nothing is outlined in them")


def _images_at(path: Path, root: Path, facts: Mapping[str, object], key: str, place: object) -> Iterator[str]:
    """The images of a folder or a list, relative to the root."""
    try:
        text = check_text(place, "a path").replace("\\", "/")
        above = check_text(facts.get("path") or ".", "a path").replace("\\", "/")
    except ValueError as error:
        raise refused(path, f"`{key}`", str(error)) from error
    # exported archives say ../train/images for what lies beside the file
    tried = [root / above / text, root / text, root / text.removeprefix("../"), root / above / text.removeprefix("../")]
    found = next((place for place in tried if place.exists()), None)
    if found is None:
        why = f"is {printable(text)}, which is not there: {printable(os.path.normpath(tried[0]))}"
        raise refused(path, f"`{key}`", why, "Correct `path`, or the paths of the parts.")
    if found.is_dir():
        folder = relative(found, root)
        names = images_below(root, folder, Counter())
        if not names:
            raise refused(path, f"`{key}`", f"is {printable(text)}, a folder without images", "Correct the path.")
        yield from map(os.fsdecode, names)
        return
    for line in filter(None, map(str.strip, read_text(found).splitlines())):
        image = found.parent / line
        if not image.exists() and (root / above / line).exists():
            image = root / above / line
        yield relative(image, root)


def _label_file(root: Path, image: str) -> Path | None:
    """The text file of an image: in `labels` in place of the last `images` of its path, or beside it."""
    before, found, behind = f"/{image}".rpartition("/images/")
    stems = [f"{before}/labels/{behind}".removeprefix("/")] if found else []
    files = [(root / stem).with_suffix(".txt") for stem in (*stems, image)]
    return next((file for file in files if file.is_file()), None)


def _shapes(path: Path, labels: list[str]) -> Iterator[Shape]:
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        name = f"line {number}"
        try:
            yield Shape(_label(words[0], labels), (_corners(words[1:]),), name)
        except ValueError as error:
            raise refused(path, name, str(error)) from error


def _label(word: str, labels: list[str]) -> str:
    if not word.isascii() or not word.isdecimal() or int(word) >= len(labels):
        raise ValueError(
            f"begins with {printable(word[:20])}, which is not the number of one of the {len(labels)} classes"
        )
    return labels[int(word)]


def _corners(words: list[str]) -> array[float]:
    if len(words) == 4:
        raise ValueError("is a box, not a polygon: it has four numbers")
    if len(words) % 2:
        raise ValueError(f"is a polygon of {len(words)} numbers, an odd count")
    try:
        return array("d", map(float, words))
    except ValueError:
        raise ValueError("holds what is not a number") from None
