"""Facts from the pixels of all masks before a training: the share of each class, and classes that never occur."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.images.image_error import ImageError
from convsmith.data.checks.look import Looks
from convsmith.data.masks.mask_pixels import pixels_in
from convsmith.data.masks.pairs import PairIndex
from convsmith.errors import ConvsmithError, quoted
from convsmith.recipe.mask_data import Masks
from convsmith.spec import IGNORED

_SHOWN = 12  # classes of a line
_LOOKED_AT = 200  # masks, to say which values they hold


def count_of(looks: Looks, used: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Pixels of each class, int64 `[256]`, 255 being those that do not count, of the samples at `used`, or of all."""
    pixels = looks.pixels
    if used is not None:
        pixels = pixels[np.isin(pixels["name"], looks.rows["name"][used])]
    return np.bincount(pixels["target"], pixels["count"], 256).astype(np.int64)


def shares(kind: str, pixels: NDArray[np.int64], classes: Sequence[str]) -> str:
    """The line about the pixels `[256]` of the masks of one kind, by class."""
    of_classes, total = pixels[: len(classes)], int(pixels.sum())
    counts = int(of_classes.sum())
    order = np.argsort(-of_classes, kind="stable")
    named = [f"{classes[i]} {_percent(of_classes[i], counts)}" for i in order]
    if len(named) > _SHOWN:
        half = _SHOWN // 2
        named[half:-half] = [f"{len(named) - _SHOWN} classes between"]
    return f"pixels of the {kind} masks: {', '.join(named)}; {_percent(total - counts, total)} do not count"


def unseen_classes(train: PairIndex, pixels: NDArray[np.int64], classes: Sequence[str], masks: Masks) -> str | None:
    """The warning about classes without a pixel in the training masks, if there are such and the recipe allows them.

    Args:
        train: the masks.
        pixels: of each class in them, int64 `[256]`.
        classes: their names.
        masks: the recipe's section.

    Raises:
        ConvsmithError: the recipe does not allow them, or no pixel counts at all.
    """
    unseen = [name for name, count in zip(classes, pixels, strict=False) if not count]
    if not unseen:
        return None
    if len(unseen) == len(classes):
        raise _unlearnable("no pixel of the training masks counts", train, pixels, classes, masks)
    what = f"{len(unseen)} of {len(classes)} classes have no pixel in the training masks: {quoted(unseen)}"
    if masks.unseen_classes == "allow":
        return what
    raise _unlearnable(what, train, pixels, classes, masks, "If it is meant so, set data.masks.unseen_classes=allow.")


def require_pixels(val: PairIndex, pixels: NDArray[np.int64], classes: Sequence[str], masks: Masks) -> None:
    """Raise a ConvsmithError if there is nothing in the validation masks to judge by; arguments as above."""
    if not pixels[: len(classes)].any():
        raise _unlearnable("no pixel of the validation masks counts", val, pixels, classes, masks)


def _unlearnable(
    what: str, pairs: PairIndex, pixels: NDArray[np.int64], classes: Sequence[str], masks: Masks, *fixes: str
) -> ConvsmithError:
    values = _values(pairs)
    held = f"they hold the values {', '.join(map(str, values))}, and " if values else ""
    why = f"{held}{_percent(pixels[IGNORED], pixels.sum())} of their pixels do not count"
    paste = _label_map(values, classes, masks)
    fixes = fixes or (() if paste else ("Set data.masks.label_map, or choose other masks.",))
    return ConvsmithError(what, why, "\n".join(filter(None, [paste, *fixes])))


def _label_map(values: Sequence[int], classes: Sequence[str], masks: Masks) -> str:
    """The key to paste if the values in the masks are the classes in their order; empty where they cannot be."""
    if masks.layout != "folders" or masks.colours is not None or len(values) != len(classes):
        return ""
    if [target for _, target in masks.label_map or ()] == list(range(len(classes))):
        return ""
    pairs = json.dumps([[value, target] for target, value in enumerate(values)])
    meant = ", ".join(f"{value} is `{name}`" for value, name in zip(values[:_SHOWN], classes, strict=False))
    return (
        f"If {meant}: on the command line\n  data.masks.label_map='{pairs}'\nor in the recipe, below data and masks,\n"
        f"  label_map: {pairs}"
    )


def _values(pairs: PairIndex) -> list[int]:
    """The values in some of the masks, spread over all of them; none where they are RGB."""
    found: set[int] = set()
    for i in np.linspace(0, len(pairs) - 1, min(len(pairs), _LOOKED_AT)).round().astype(int):
        try:
            pixels = pixels_in(pairs.masks[i])
        except ImageError:  # a bad one, which is left out
            continue
        found |= set(np.unique(pixels).tolist()) if pixels.ndim == 2 else set()
    return sorted(found)[:30]


def _percent(part: int | np.integer, whole: int | np.integer) -> str:
    share = 100 * int(part) / max(1, int(whole))
    return f"{share:.3g} %" if part else "0 %"
