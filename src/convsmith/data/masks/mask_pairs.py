"""Finding the images of a part and the mask of each: by folders, by names in a list, or by a list of both."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from convsmith.bundle.images.open_image import IMAGE_SUFFIXES
from convsmith.data.folders.scan import images_below, list_folder, note_places
from convsmith.data.masks.mask_layouts import MASK_SUFFIXES, Tree, own_tree, trees_of
from convsmith.data.masks.mask_search import find_masks
from convsmith.errors import ConvsmithError, did_you_mean, printable, quoted
from convsmith.recipe.mask_data import LIST_SUFFIXES, Masks

Pair = tuple[bytes, bytes]
"""Image and mask as paths relative to the data folder, as the file system spells them."""

_BESIDE = (".npy", ".png")  # a mask beside an image of the same name: the first kind that there is
_LOSSY = (".jpg", ".jpeg", ".JPG", ".JPEG")
_PART_LIKE = frozenset({"training", "val", "valid", "validation", "test", "testing"})


def find_pairs(root: Path, masks: Masks, parts: str, others: Counter[str]) -> list[Pair]:
    """The pairs of the parts that `parts` joins by +, one part after the other.

    Those of a folder are sorted by the bytes of the image's path; those of a list stand in its order.

    Args:
        root: the data folder.
        masks: the recipe's section, which says where parts are.
        parts: names of parts, or list files (.lst, .txt) relative to `root`.
        others: called with the files that are not images, by kind.

    Raises:
        ConvsmithError: a part or a list is not there or empty, an image has no mask, or a mask no image.
    """
    _require_folders(root, masks)
    pairs: list[Pair] = []
    for part in map(str.strip, parts.split("+")):
        if part.endswith(LIST_SUFFIXES):
            found = _listed_pairs(root, part)
        else:
            tree = find_tree(root, masks, part)
            if tree is None:
                raise _no_such_part(root, masks, part)
            found = _named_pairs(root, tree) if tree.ids else _folder_pairs(root, tree, others)
        pairs += found
    return pairs


def is_there(root: Path, masks: Masks, parts: str) -> bool:
    """Whether any of the parts that `parts` joins by + is in the data folder, whole or not."""
    note_places(root / part for part in map(str.strip, parts.split("+")))
    return any(
        (root / part).is_file() if part.endswith(LIST_SUFFIXES) else find_tree(root, masks, part) is not None
        for part in map(str.strip, parts.split("+"))
    )


def find_tree(root: Path, masks: Masks, part: str) -> Tree | None:
    """Where a part lies; None if it is nowhere. Without folders of parts, all images together are `train`."""
    trees = trees_of(masks, part)
    if masks.layout == "folders" and trees == trees_of(masks, ""):  # no pattern tells parts apart
        trees = trees if part == "train" else []
    note_places(root / it for tree in trees for it in (tree.ids or tree.images, tree.masks))
    there = [tree for tree in trees if ((root / tree.ids).is_file() if tree.ids else (root / tree.images).is_dir())]
    if there:
        return next((tree for tree in there if (root / tree.masks).is_dir()), there[0])
    whole = own_tree(masks).whole
    note_places([root / whole.images])
    if masks.layout == "folders" and part == "train" and (root / whole.images).is_dir():
        folders = {name.casefold() for name in list_folder(root / whole.images).folders}
        return None if folders & _PART_LIKE else whole
    return None


def _folder_pairs(root: Path, tree: Tree, others: Counter[str]) -> list[Pair]:
    if not (root / tree.masks).is_dir():
        raise ConvsmithError(
            f"no folder {printable(root / tree.masks)} beside {printable(root / tree.images)}",
            "each image needs a mask",
            f"Expected: {tree}",
        )
    images, masks = _images(root, tree, others), _masks(root, tree)
    if not images:
        raise _empty(root / tree.images, "no images")
    if without := [name for key, name in images.items() if key not in masks]:
        above, slash, last = _key(without[0], tree.images, tree.image_start, tree.image_end).rpartition(b"/")
        wanted = _inside(tree.masks) + above + slash + os.fsencode(tree.mask_start) + last
        wanted += os.fsencode(tree.mask_end + (tree.mask_kind or ".png"))
        raise ConvsmithError(
            f"{len(without)} of {len(images)} images in {printable(root / tree.images)} have no mask: "
            + quoted(map(printable, without)),
            f"the mask of the first would be {printable(wanted)}",
            "A mask is a PNG, TIFF, BMP or NPY file with the name of its image, and what data.masks.mask_suffix says. "
            + _missing_or_lossy(root / os.fsdecode(wanted)),
        )
    if surplus := [name for key, name in masks.items() if key not in images]:
        raise ConvsmithError(
            f"{len(surplus)} of {len(masks)} masks in {printable(root / tree.masks)} have no image: "
            + quoted(map(printable, surplus)),
            "",
            "Add the images, or move the masks elsewhere.",
        )
    return [(name, masks[key]) for key, name in images.items()]


def _images(root: Path, tree: Tree, others: Counter[str]) -> dict[bytes, bytes]:
    """The images by what each has in common with its mask."""
    kinds = (tree.image_kind,) if tree.image_kind else IMAGE_SUFFIXES
    names = _files(root, tree.images, tree.masks, (others, kinds))
    if tree.images == tree.masks:
        masks = set(_mask_names(root, tree))
        names = [name for name in names if name not in masks]
    return _by_key(root, names, (tree.images, tree.image_start, tree.image_end), "two images for one mask")


def _masks(root: Path, tree: Tree) -> dict[bytes, bytes]:
    """The masks by what each has in common with its image; files with other endings are none."""
    return _by_key(
        root, _mask_names(root, tree), (tree.masks, tree.mask_start, tree.mask_end), "two masks for one image"
    )


def _mask_names(root: Path, tree: Tree) -> list[bytes]:
    """The files that are called as masks, and not as images beside which they lie."""
    names = []
    for name in _files(root, tree.masks, tree.images, (Counter(), MASK_SUFFIXES)):
        stem, dot, extension = os.fsdecode(name.rpartition(b"/")[2]).rpartition(".")
        if stem.startswith(tree.mask_start) and stem.endswith(tree.mask_end):
            names.append((name, (dot + extension).lower()))
    kinds: Collection[str] = (tree.mask_kind,) if tree.mask_kind else MASK_SUFFIXES
    beside = (tree.images, tree.image_start, tree.image_end) == (tree.masks, tree.mask_start, tree.mask_end)
    if beside and not tree.mask_kind:
        there = {kind for _, kind in names}
        kinds = [kind for kind in _BESIDE if kind in there][:1]
    return [name for name, kind in names if kind in kinds]


def _files(root: Path, folder: str, other: str, what: tuple[Counter[str], Collection[str]]) -> list[bytes]:
    """The files in a folder, without those in the other one where that lies in it; `what` as in `images_below`."""
    names = images_below(root, folder, *what)
    if other == folder or not _inside(other).startswith(_inside(folder)):
        return names
    return [name for name in names if not name.startswith(_inside(other))]


def _missing_or_lossy(wanted: Path) -> str:
    """Say what to do where there is no such mask: it may be a JPEG file, whose values are not those that were saved."""
    for suffix in _LOSSY:
        if (found := wanted.with_suffix(suffix)).is_file():
            return (
                f"{printable(found)} is a JPEG file, which changes values where classes meet: save the masks anew as "
                "PNG where they were made."
            )
    return "Add the masks, or move the images elsewhere."


def _inside(folder: str) -> bytes:
    """The beginning of the paths of the files in a folder."""
    return os.fsencode(f"{folder}/" if folder else "")


def _by_key(root: Path, names: Iterable[bytes], place: tuple[str, str, str], twice: str) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name in names:
        key = _key(name, *place)
        if key in found:
            raise ConvsmithError(
                f"{printable(root)} has {twice}: {quoted([printable(found[key]), printable(name)])}",
                "their names differ in the extension only",
                "Rename one of them, and what belongs to it.",
            )
        found[key] = name
    return found


def _named_pairs(root: Path, tree: Tree) -> list[Pair]:
    """The pairs whose names a file lists, one a line."""
    images, masks = _images(root, tree, Counter()), _masks(root, tree)
    folders = [_inside(folder) for folder in (tree.images, tree.masks)]
    names = [line.strip() for line in _lines(root / tree.ids)]
    pairs = [
        (images.get(name, folders[0] + name + b".jpg"), masks.get(name, folders[1] + name + b".png")) for name in names
    ]
    return _existing(root, tree.ids, pairs)


def _listed_pairs(root: Path, name: str) -> list[Pair]:
    """The pairs of a list with an image and its mask on each line, separated by a tab, or by other white space."""
    path = root / name
    pairs: list[Pair] = []
    for number, line in enumerate(_lines(path), 1):
        columns = [column.strip() for column in line.split(b"\t")] if b"\t" in line else line.split()
        if len(columns) != 2 or not all(columns):
            raise ConvsmithError(
                f"{printable(path)}, entry {number}, does not name an image and its mask: {printable(line.strip())}",
                "it has one path only: is it the list of a test part?" if len(columns) == 1 else "",
                "Write both paths on one line, with a tab between them if a path has spaces.",
            )
        pairs.append((columns[0].lstrip(b"/"), columns[1].lstrip(b"/")))  # SegNet's and DeepLab's lists start with /
    return _existing(root, name, pairs)


def _existing(root: Path, list_name: str, pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs, all of whose files exist."""
    folder = os.fsencode(root)
    note_places(root / os.fsdecode(it) for it in {name.rpartition(b"/")[0] for pair in pairs for name in pair})
    missing = [name for pair in pairs for name in pair if not os.path.isfile(os.path.join(folder, name))]  # noqa: PTH113, PTH118 - bytes
    if missing:
        raise ConvsmithError(
            f"{len(missing)} of {2 * len(pairs)} files that {printable(root / list_name)} lists are missing: "
            + quoted(map(printable, missing)),
            f"their paths are relative to {printable(root)}",
            "Add the files, or pass the folder that the paths start from.",
        )
    return list(pairs)


def _lines(path: Path) -> list[bytes]:
    """The lines of a list file that are not blank, at least one."""
    note_places([path])
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ConvsmithError(f"{printable(path)} is not a file", "it would have to list images and masks")
    try:
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise ConvsmithError(
            f"cannot read the list {printable(path)}",
            error.strerror or str(error),
            "Give its path relative to the data folder.",
        ) from error
    lines = [line for line in content.splitlines() if line.strip()]
    if not lines:
        raise _empty(path, "nothing")
    return lines


def _key(name: bytes, folder: str, start: str, end: str) -> bytes:
    """The part of a path that an image and its mask share: below the folder, without extension, start and end."""
    above, slash, last = name.rpartition(b".")[0][len(_inside(folder)) :].rpartition(b"/")
    return above + slash + last.removeprefix(os.fsencode(start)).removesuffix(os.fsencode(end))


def _empty(path: Path, what: str) -> ConvsmithError:
    return ConvsmithError(
        f"{what} in {printable(path)}", "a part needs at least one pair", "Check the path of the data."
    )


def _require_folders(root: Path, masks: Masks) -> None:
    """Raise a ConvsmithError, which names the key, where a folder is not there that the recipe names."""
    for key in ("images_dir", "masks_dir", "images", "masks"):
        said = getattr(masks, key)
        if said is None or said == Masks.model_fields[key].default:
            continue
        folder = said.rpartition("/")[0] if key in ("images", "masks") else said
        above = folder.partition("PART")[0].rpartition("/")[0] if "PART" in folder else folder
        if not (root / above).is_dir():
            there = list_folder(root).folders
            raise ConvsmithError(
                f"data.masks.{key} is {printable(said)}, but there is no folder {printable(root / above)}"
                + did_you_mean(above, there),
                f"{printable(root)} holds the folders {quoted(there)}"
                if there
                else f"{printable(root)} has no folders",
                f"Set data.masks.{key} to a folder in the data folder.",
            )


def _no_such_part(root: Path, masks: Masks, part: str) -> ConvsmithError:
    top = list_folder(root).folders
    near = did_you_mean(part, _parts(root)) if "images" in top else ""
    expected = " or ".join(map(str, trees_of(masks, part)))
    return ConvsmithError(
        f"no part `{part}` of the layout `{masks.layout}` in {printable(root)}{near}",
        f"the folder holds {quoted(top)}" if top else "it holds no folders",
        _said_otherwise(root, masks) or f"Expected: {expected}",
    )


def _said_otherwise(root: Path, masks: Masks) -> str:
    """The keys for images and masks that lie elsewhere; empty where there are none."""
    if masks.layout != "folders":
        return ""
    keys = [" ".join(f"'{word}'" for word in found.overrides) for found in find_masks(root)]
    return f"Set {' or '.join(keys)}." if all(keys) and keys else ""


def _parts(root: Path) -> Iterable[str]:
    return map(printable, list_folder(root / "images").folders)
