"""Finding folders of images and of masks in a data folder, whatever they are called and however they are nested."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, permutations, product
from pathlib import Path

import numpy as np

from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.images.open_image import open_image
from convsmith.bundle.images.read_bytes import read_bytes
from convsmith.data.folders.scan import images_below, list_folder, some_images
from convsmith.errors import ConvsmithError, printable
from convsmith.waiting import answer_of

_TRAIN, _VAL, _TEST = ("train", "training"), ("val", "valid", "validation"), ("test", "testing")
_PARTS = frozenset((*_TRAIN, *_VAL, *_TEST))
_IMAGES = "image images img imgs photo photos picture pictures rgb data input inputs frame frames scan scans original"
_MASKS = (
    "mask masks annotation annotations annot annots ann anns label labels lbl lbls gt gts truth groundtruth seg segs "
    "segmentation segmentations semantic manual target targets matte mattes"
)
_MASK_END = re.compile(r"[ ._-](?:" + "|".join(_MASKS.split()) + r")$", re.IGNORECASE)
_DEFAULTS = (("images/PART/*", "masks/PART/*"), ("images/*", "masks/*"))
_UNNAMED = 3  # folders side by side that are compared though no name says what they are; more would be classes
_LOOKED_AT = 3  # pairs whose pixels are compared
_ALIKE = 0.8  # share of the names that images and masks have in common; what lacks is named once it is known
_FEW = 40  # values in a mask; photographs and handwritten digits have more
_PIXELS = 2**20  # about so many of an image are counted
_DOMINANT, _SHARE = 8, 0.95  # so many levels make such a share of a mask that was a JPEG file


@dataclass(frozen=True)
class FoundMasks:
    """Images and masks beside each other.

    Attributes:
        folders: of images and of masks, relative to the data folder.
        patterns: where they are, as `data.masks.images` and `data.masks.masks`.
        train: name of the part to train on.
        val: name of the part to validate on; None where there is another one, for a test, which must not serve as such.
        named: whether the names of the folders say the same as their files.
    """

    folders: tuple[str, str]
    patterns: tuple[str, str]
    train: str
    val: str | None
    named: bool

    @property
    def overrides(self) -> tuple[str, ...]:
        """The keys that a recipe needs, as `key=value` words."""
        words = {"train": self.train, "val": self.val or "null"} if "PART" in self.patterns[0] else {}
        if self.patterns not in _DEFAULTS:
            words = {"images": self.patterns[0], "masks": self.patterns[1], **words}
        return tuple(f"data.masks.{key}={word}" for key, word in words.items() if key != word)


def find_masks(root: Path) -> list[FoundMasks]:
    """Folders of equal names and sizes of which one holds few values: images, and masks of them.

    Folders are looked at that lie side by side in `root`, or in its `train`, with parts above, inside or in their
    names. Where names tell images from masks, only those are compared, else up to three.
    """
    found: dict[tuple[str, str], FoundMasks] = {}
    for place in _places(root):
        named = named_pairs(place.folders)
        unnamed = list(permutations(place.folders, 2)) if len(place.folders) <= _UNNAMED else []
        pairs = named or unnamed
        masks = {folder for _, folder in pairs if _hold_few_values(root / (place.above + folder))}
        pairs = [pair for pair in pairs if pair[1] in masks]
        files = {folder: _files(root, place.above + folder) for folder in dict.fromkeys(chain(*pairs))}
        for pair in pairs:
            names = _in_common(root, place, pair, [files[folder] for folder in pair], bool(named))
            if names is not None:
                one = _describe(root, place, pair, names, bool(named))
                found.setdefault(one.patterns, one)
    for one in _beside(root):
        found.setdefault(one.patterns, one)
    return list(found.values())


def _beside(root: Path) -> Iterator[FoundMasks]:
    """Masks beside their images, in `root` or in its part to train on, that are called as them but for an end."""
    top = list_folder(root)
    train = next((name for name in top.folders if name.casefold() in _TRAIN), None)
    for folder in ("", *([train] if train else [])):
        listing = list_folder(root / folder).images if folder else top.images
        stems = {Path(name).stem: name for name in listing}
        ends = Counter(match[0] for stem in stems if (match := _MASK_END.search(stem)))
        for end, count in ends.most_common(1):
            images = sorted(stem for stem in stems if not stem.endswith(end))
            pairs = [stem for stem in images if stem + end in stems]
            if len(pairs) < _ALIKE * max(len(images), count) or not pairs:
                continue
            place = root / folder
            if all(_is_mask_of(place / stems[stem + end], place / stems[stem], named=True) for stem in _some(pairs)):
                yield _describe_beside(top.folders, folder, end)


def _describe_beside(folders: Sequence[str], train: str, end: str) -> FoundMasks:
    """The keys for masks beside images in the data folder itself, or in its parts."""
    parts = [name for name in folders if name.casefold() in _PARTS] if train else []
    has_test = any(part.casefold() in _TEST for part in parts)
    val = next((part for part in parts if part.casefold() in _VAL), None if has_test else "val")
    return FoundMasks((train, train), ("PART/*", f"PART/*{end}"), train or "train", val, named=True)


def refuse_masks_as_classes(root: Path) -> None:
    """Refuse a folder whose images and masks would pass for two classes.

    Raises:
        ConvsmithError: it is one; with the keys of a recipe for segmentation.
    """
    for found in find_masks(root):
        raise masks_as_classes(root, found)


def masks_as_classes(root: Path, found: FoundMasks) -> ConvsmithError:
    """The error for images and masks that would pass for two classes."""
    images, masks = (f"`{printable(folder)}`" for folder in found.folders)
    keys = " ".join(f"'{word}'" for word in found.overrides)
    patterns = (f"`{pattern}`" for pattern in found.patterns)
    images, masks = patterns if found.folders[0] == found.folders[1] else (images, masks)  # beside each other
    return ConvsmithError(
        f"{printable(root)} holds images and their masks, not two classes: {images} and {masks}",
        f"their files have the same names and sizes, and those of {masks} hold few values",
        f"Segment them: name a recipe of that task, such as hrnet_w18_seg-folder, with --data and {keys}. "
        "If they are two classes indeed, set model.num_classes=2.",
    )


@dataclass(frozen=True)
class _Place:
    above: str  # what the folders lie in, relative to the root, with a / behind it; empty for the root itself
    folders: Sequence[str]


def _places(root: Path) -> Iterator[_Place]:
    top = list_folder(root).folders
    yield _Place("", [name for name in top if name.casefold() not in _PARTS])
    for name in top:
        if name.casefold() in _TRAIN:
            yield _Place(f"{name}/", list_folder(root / name).folders)


def named_pairs(folders: Sequence[str]) -> list[tuple[str, str]]:
    """The folders of which the names say that the first holds images and the second masks; there may be thousands."""
    words, of_images, of_masks = {it: _words(it) for it in folders}, set(_IMAGES.split()), set(_MASKS.split())
    images = [folder for folder in folders if words[folder] & of_images and not words[folder] & of_masks]
    return list(product(images, [folder for folder in folders if words[folder] & of_masks]))


def _words(name: str) -> set[str]:
    """The words of a name, such as images and tr of `imagesTr`."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def _files(root: Path, folder: str) -> list[str]:
    return [os.fsdecode(path) for path in images_below(root, folder, Counter())]


def _hold_few_values(folder: Path) -> bool:
    """Whether a few of the files in a folder may be masks: a quick look, before the names of all are compared."""
    files = answer_of(lambda: [*islice(some_images(folder), _LOOKED_AT)], f"the folder {printable(folder)}")
    return bool(files) and all(map(_may_be_mask, files))


def _may_be_mask(path: Path) -> bool:
    try:
        _, values, dominated = _look_at(path)
    except ImageError:
        return False
    return values <= _FEW or dominated


def _some(items: Sequence[str]) -> list[str]:
    return [items[i] for i in np.linspace(0, len(items) - 1, min(_LOOKED_AT, len(items))).astype(int)]


def _in_common(
    root: Path, place: _Place, pair: tuple[str, str], names: Sequence[Sequence[str]], named: bool
) -> tuple[str, str] | None:
    """Patterns of images and masks, such as `*` and `*_mask`, by all `names`; None if they do not belong together."""
    if not all(names):
        return None
    stems = [[Path(name).stem for name in some] for some in names]
    ends = _difference(*(_reversed(_shared_start([_reversed(stem) for stem in some])) for some in stems))
    stems = [[stem.removesuffix(end) for stem in some] for some, end in zip(stems, ends, strict=True)]
    starts = [_reversed(it) for it in _difference(*(_reversed(_shared_start(some)) for some in stems))]
    images, masks = (
        {
            name[len(place.above + folder) :].rpartition("/")[0] + "/" + stem.removeprefix(start): root / name
            for name, stem in zip(some, some_stems, strict=True)
        }
        for folder, some, some_stems, start in zip(pair, names, stems, starts, strict=True)
    )
    common = sorted(images.keys() & masks.keys())
    if len(common) < _ALIKE * max(len(images), len(masks)):
        return None
    if not all(_is_mask_of(masks[name], images[name], named) for name in _some(common)):
        return None
    first, second = (f"{start}*{end}" for start, end in zip(starts, ends, strict=True))
    return first, second


def _difference(one: str, other: str) -> tuple[str, str]:
    """Both without what they begin with alike."""
    alike = len(_shared_start([one, other]))
    return one[alike:], other[alike:]


def _shared_start(texts: Sequence[str]) -> str:
    """The longest start that some texts share."""
    first, last = min(texts), max(texts)
    return first[: next((i for i, pair in enumerate(zip(first, last, strict=False)) if len(set(pair)) > 1), len(first))]


def _reversed(text: str) -> str:
    return text[::-1]


def _is_mask_of(mask: Path, image: Path, named: bool) -> bool:
    """Whether a file is as large as an image and holds few values, and the image, unless its folder says so, many."""
    try:
        mask_size, values, dominated = _look_at(mask)
        size, levels, _ = _look_at(image)
    except ImageError:
        return False
    return size == mask_size and (values <= _FEW or dominated) and (named or (levels > _FEW and levels > values))


def _look_at(path: Path) -> tuple[tuple[int, int], int, bool]:
    """Width and height; how many values or colours there are; whether few of them make nearly all of a JPEG file."""
    with open_image(read_bytes(path), str(path)) as picture:
        is_plain = picture.mode in ("1", "L", "P", "I", "I;16")
        pixels = np.asarray(picture if is_plain else picture.convert("RGB"))
        step = max(1, round((picture.width * picture.height / _PIXELS) ** 0.5))
        lossy = picture.format in ("JPEG", "MPO", "WEBP")
        size = picture.size
    pixels = pixels[::step, ::step]
    if pixels.ndim == 3:
        pixels = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    _, counts = np.unique(pixels, return_counts=True)
    dominated = bool(np.sort(counts)[-_DOMINANT:].sum() >= _SHARE * pixels.size)
    return size, len(counts), lossy and dominated


def _describe(root: Path, place: _Place, pair: tuple[str, str], names: tuple[str, str], named: bool) -> FoundMasks:
    """The keys for a pair of folders, with the parts that there are: above them, in them or in their names."""
    folders = (place.above + pair[0], place.above + pair[1])
    top = list_folder(root).folders
    if place.above:
        parts = [name for name in top if name.casefold() in _PARTS and (root / name / pair[0]).is_dir()]
        templates = (f"PART/{pair[0]}", f"PART/{pair[1]}")
    else:
        inside = [set(list_folder(root / folder).folders) for folder in pair]
        parts = sorted(name for name in inside[0] & inside[1] if name.casefold() in _PARTS)
        templates = (f"{pair[0]}/PART", f"{pair[1]}/PART")
        if not parts:
            templates, parts = _parts_in_names(pair, top)
    train = next((part for part in parts if part.casefold() in _TRAIN), None)
    if train is None:
        templates, parts = folders, []
    has_test = any(part.casefold() in _TEST for part in parts)
    val = next((part for part in parts if part.casefold() in _VAL), None if has_test else "val")
    patterns = (f"{templates[0]}/{names[0]}", f"{templates[1]}/{names[1]}")
    return FoundMasks(folders, patterns, train or "train", val, named)


def _parts_in_names(pair: tuple[str, str], top: Sequence[str]) -> tuple[tuple[str, str], list[str]]:
    """Such as `PART_images` and `PART_masks` with the names of the parts; the names as they are where there is none."""
    for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", pair[0]):
        if word.casefold() in _PARTS and word in pair[1]:
            images, masks = (name.replace(word, "PART", 1) for name in pair)
            before, _, behind = images.partition("PART")
            names = [name.removeprefix(before).removesuffix(behind) for name in top]
            parts = [part for part in names if part.casefold() in _PARTS and images.replace("PART", part) in top]
            return (images, masks), parts
    return pair, []
