"""Values and colours of masks that are not a class, with the keys to paste that say what they mean."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np

from convsmith.bundle.images.image_error import ImageError
from convsmith.data.contents import Content
from convsmith.data.masks.mask_file import MaskRules, colours_of
from convsmith.data.masks.mask_pixels import Colour, pixels_in
from convsmith.errors import counted
from convsmith.recipe.mask_data import Masks
from convsmith.spec import IGNORED

_LOOKED_AT, _LISTED = 200, 50  # masks, and values or colours of a line


def strange_values(masks: Iterable[Content], rules: MaskRules, section: Masks) -> str | None:
    """A line about values or colours that are not a class, and what to paste; None where there are none.

    Args:
        masks: those that cannot be used; some of the first are looked at.
        rules: the meaning of pixels.
        section: the recipe's.
    """
    values: set[int] = set()
    colours: set[Colour] = set()
    holding = 0
    some = [*islice(masks, _LOOKED_AT)]
    for mask in some:
        try:
            pixels = pixels_in(mask)
        except ImageError:  # it cannot be used for another reason
            continue
        if pixels.ndim == 2:
            new_values = set(np.unique(pixels).tolist()) - rules.meanings.keys()
            values |= new_values
            holding += bool(new_values)
        elif section.colours is not None:
            new_colours = set(colours_of(pixels)) - {tuple(colour) for colour in section.colours}
            colours |= new_colours
            holding += bool(new_colours)
    if not values and not colours:
        return None
    least = "at least " if len(some) == _LOOKED_AT else ""
    hold = f"{least}{counted(holding, 'mask')} {'holds' if holding == 1 else 'hold'}"
    if len(values) + len(colours) > _LISTED:
        many = f"{len(values) + len(colours):,} values or colours"
        return f"{hold} {many} that are not a class: were they smoothed, or JPEG files once?"
    if values:
        return f"{hold} {_told('value', sorted(values))} not a class; {_fix(values, rules, section)}"
    table = json.dumps([*map(list, section.colours or ()), *map(list, sorted(colours))])
    return (
        f"{hold} {_told('colour', list(map(list, sorted(colours))))} not a class; if these pixels do not count, set "
        f"data.masks.others=ignore; if they are classes, set "
        f"data.masks.colours='{table}', and name these behind the others"
    )


def _fix(values: set[int], rules: MaskRules, section: Masks) -> str:
    if section.layout != "folders":
        return "if these pixels do not count, set data.masks.others=ignore"
    known = [[value, target] for value, target in rules.meanings.items() if target != IGNORED]
    label_map = json.dumps(sorted([*known, *([value, IGNORED] for value in values)]))
    return (
        f"if these pixels do not count, set data.masks.label_map='{label_map}'; if they are classes, put the number of "
        f"the class in place of {IGNORED}"
    )


def _told(what: str, items: Sequence[object]) -> str:
    """`the value 11, which is`, or `the values 11, 12, which are`."""
    several = len(items) > 1
    return f"the {what}{'s' * several} {', '.join(map(str, items))}, which {'are' if several else 'is'}"
