"""Values and colours in some masks of a data set, for errors that print the keys to paste."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convsmith.bundle.images.image_error import ImageError
from convsmith.data.contents import Contents
from convsmith.data.masks.mask_file import colours_of
from convsmith.data.masks.mask_pixels import Colour, is_of_colours, pixels_in
from convsmith.errors import ConvsmithError, counted, printable
from convsmith.recipe.mask_data import MAX_CLASSES, Masks
from convsmith.spec import IGNORED

_LOOKED_AT = 20
_SHOWN = 30


@dataclass(frozen=True)
class MaskContents:
    """The values and the colours in some masks.

    Attributes:
        masks: how many were looked at.
        values: of those in grey or with a palette.
        colours: of those in RGB, sorted.
    """

    masks: int
    values: frozenset[int]
    colours: tuple[Colour, ...]

    def __str__(self) -> str:
        """The values in words, after a semicolon; nothing where there are none."""
        shown = sorted(self.values)
        more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        held = ", ".join(map(str, shown[:_SHOWN])) + more
        return f"; the first {self.masks} masks hold the values {held}" if shown else ""


def contents_of(masks: Contents) -> MaskContents:
    """The contents of the first masks; those that cannot be read are left out."""
    values: set[int] = set()
    colours: set[Colour] = set()
    looked_at = min(len(masks), _LOOKED_AT)
    for mask in map(masks.__getitem__, range(looked_at)):
        try:
            pixels = pixels_in(mask)
        except ImageError:  # the check of all files says so
            continue
        if pixels.ndim == 2:
            values.update(np.unique(pixels).tolist())
        else:
            colours.update(colours_of(pixels))
    return MaskContents(looked_at, frozenset(values), tuple(sorted(colours)))


def unknown_classes(root: Path, classes_file: str, section: Masks, masks: Contents) -> ConvsmithError:
    """The error for classes that are named nowhere.

    Counting the values in the masks would be a guess: a stray one would be a class, and 255 is often an object.
    """
    held = contents_of(masks)
    of_two = len(held.values) == 2 and min(held.values) == 0 and max(held.values) > 1
    values = held.values if of_two else held.values - {section.ignore_index}
    number = len(section.colours or held.colours if held.colours else values)
    names = ", ".join(f"class{i}" for i in range(number))
    fix = f"Name one class on each line of {printable(root / classes_file)}, value 0 first, or set data.masks.classes"
    fix += f", such as data.masks.classes='[{names}]'." if 1 < number <= _SHOWN else "."
    if of_two:
        high = max(held.values)
        fix += f" If {high} is a class here, set data.masks.label_map='[[0, 0], [{high}, 1]]' too."
    if held.colours and not held.values and section.colours is None:
        fix += f" {_table_of(held)}"
    return ConvsmithError(f"what are the classes of {printable(root)}?", f"no {classes_file} there{held}", fix)


def refuse_colours_without_table(masks: Masks, files: Contents) -> None:
    """Refuse RGB masks, as the first one shows them, where nothing says which colour is which value.

    Raises:
        ConvsmithError: with the colours that the masks hold.
    """
    if masks.colours is not None:
        return
    first = files[0]
    try:
        if not is_of_colours(first):
            return
    except ImageError:  # the check of all files says so
        return
    held = contents_of(files)
    if not held.colours:  # none can be read, as where they are not opaque; likewise
        return
    why = f"data.masks.colours does not say which colour is which value; {counted(held.masks, 'mask')} looked at"
    if masks.layout != "folders":
        fix = (
            f"The masks of the layout `{masks.layout}` are grey or have a palette: convert them, or set layout=folders."
        )
        raise ConvsmithError(f"{printable(first.name)} is an RGB picture", why, fix)
    raise ConvsmithError(f"{printable(first.name)} is an RGB picture", why, _table_of(held))


def refuse_ignored_class(masks: Masks, values: Mapping[int, int], files: Contents) -> None:
    """Refuse an `ignore_index` that does nothing because it is the value of a class.

    Args:
        masks: the recipe's section.
        values: by value, its class, see `MaskRules`.
        files: masks of training, to see whether there is a value for each class without that one.

    Raises:
        ConvsmithError: with the label map that does what was meant.
    """
    ignored = masks.ignore_index
    class_id = values.get(ignored, IGNORED)
    if ignored == IGNORED or class_id == IGNORED:
        return
    what = f"data.masks.ignore_index={ignored} does nothing"
    if masks.layout != "folders":
        why = f"in the layout `{masks.layout}` the value {ignored} is class {class_id}"
        raise ConvsmithError(what, why, "Leave it out.")
    if masks.label_map is not None:
        others = [[value, target] for value, target in masks.label_map if value != ignored]
        raise ConvsmithError(
            what,
            f"data.masks.label_map says that the value {ignored} is class {class_id}",
            f"Leave it out, or set data.masks.label_map='{[[ignored, IGNORED], *others]}'.",
        )
    kept = [value for value in range(len(values) + 1) if value != ignored]
    why = f"the value {ignored} is class {class_id}, since values are classes where there is no label_map"
    if len(values) in contents_of(files).values:  # the names are those of the other values
        fix = f"For {len(kept)} classes that are the other values"
    else:
        fix = f"To leave class {class_id} out, take its name away and"
        kept = kept[:-1]
    label_map = [[ignored, IGNORED], *([value, target] for target, value in enumerate(kept))]
    raise ConvsmithError(what, why, f"{fix} set data.masks.label_map='{label_map}'.")


def _table_of(held: MaskContents) -> str:
    """The keys to set where the masks are RGB."""
    if len(held.colours) > MAX_CLASSES:
        return (
            f"They hold {len(held.colours):,} colours, too many to be classes: were they smoothed, or JPEG files once? "
            "Make them anew with plain colours, and resize them by nearest only."
        )
    return (
        f"Set data.masks.colours='{_listed(held.colours)}', in the order of the classes. Colours that are none can be "
        "taken out of it, with data.masks.others=ignore."
    )


def _listed(colours: Iterable[Colour]) -> str:
    return str([list(colour) for colour in colours])
