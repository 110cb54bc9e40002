"""Values that tell images apart besides their class: where they lie, how they look, a column of their table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from convsmith.analyze.image_facts import ImageFacts

FEWEST = 20
"""Images that a part of them has at least."""

_BINS = 5
_END = 0.05  # of the images, in a bin of their own where they are enough
_LEVELS = 4  # of folders
_MOST_VALUES = 10  # numbers of a column that are taken one by one


@dataclass(frozen=True)
class Factor:
    """A value of each image, out of some.

    Attributes:
        name: what it is, in words.
        values: the values there are, in words.
        numbers: which of them each image has, int64 [N]; -1: none.
        edges: the ends of bins, the lowest first; empty where the values are not bins.
    """

    name: str
    values: tuple[str, ...]
    numbers: NDArray[np.int64]
    edges: tuple[float, ...] = ()


def look_factors(facts: Sequence[ImageFacts]) -> list[Factor]:
    """How large, bright and sharp each image is, in up to five bins of equally many, of many the ends in two each."""
    measured = {
        "pixels": [float(it.width * it.height) for it in facts],
        "brightness": [it.brightness for it in facts],
        "sharpness": [it.sharpness for it in facts],
    }
    return [made for name, values in measured.items() if (made := _binned(name, np.array(values)))]


def folder_factors(names: Sequence[str]) -> list[Factor]:
    """The folders of paths, level by level below the last that all have in common."""
    parts = [PurePath(name).parts[:-1] for name in names]
    common = next((i for i, level in enumerate(zip_longest(*parts)) if len(set(level)) > 1), None)
    if common is None:
        return []
    found = []
    for level in range(_LEVELS):
        of_images = [part[common + level] if common + level < len(part) else None for part in parts]
        if made := _listed("folder", of_images, "*/" * level):
            found.append(made)
    return found


def column_factor(name: str, cells: Sequence[str | None]) -> Factor | None:
    """A column of a table: numbers in bins where they are many, else each value; None if all images have the same."""
    known = [_number(cell) for cell in cells]
    if all((number is None) == (not cell) for number, cell in zip(known, cells, strict=True)):
        numbers = np.array([np.nan if it is None else it for it in known])
        if len(np.unique(numbers[np.isfinite(numbers)])) > _MOST_VALUES:
            return _binned(name, numbers)
    return _listed(name, [cell or None for cell in cells])


def without_those_of_classes(factors: Sequence[Factor], classes: Sequence[NDArray[np.int64]]) -> list[Factor]:
    """Leave out what says the class once more, such as the folders of classes."""
    return [it for it in factors if it.edges or not all(_alike(it, numbers) for numbers in classes)]


def _alike(factor: Factor, of_class: NDArray[np.int64]) -> bool:
    """Whether the images of a class have a value that no other has."""
    own = np.unique(factor.numbers[of_class])
    return len(own) == 0 or (len(own) == 1 and int((factor.numbers == own[0]).sum()) == len(of_class))


def _listed(name: str, cells: Sequence[str | None], prefix: str = "") -> Factor | None:
    values = sorted({cell for cell in cells if cell is not None})
    if len(values) + (None in cells) < 2:
        return None
    place = {value: i for i, value in enumerate(values)}
    numbers = np.array([-1 if cell is None else place[cell] for cell in cells], np.int64)
    return Factor(name, tuple(prefix + value for value in values), numbers)


def _binned(name: str, values: NDArray[np.float64]) -> Factor | None:
    """Bins between quantiles; what is not a number is in none of them. None where all values are in one."""
    there = np.isfinite(values)
    if not there.any():
        return None
    count = int(there.sum())
    ends = [_END, 1 - _END] if count * _END >= FEWEST else []
    quantiles = sorted([*np.linspace(0, 1, max(1, min(_BINS, count // FEWEST)) + 1), *ends])
    edges = np.unique(np.quantile(values[there], quantiles))
    if len(edges) < 3:
        return None
    numbers = np.where(there, np.searchsorted(edges[1:-1], values, side="right"), -1).astype(np.int64)
    words = list(_words(edges.tolist()))
    named = tuple(f"{low} to {high}" for low, high in pairwise(words))
    return Factor(name, named, numbers, tuple(edges.tolist()))


def _words(edges: Sequence[float]) -> Iterator[str]:
    """The edges in as many digits as tell them apart."""
    whole = all(edge == round(edge) for edge in edges)
    digits = 0 if whole else next((it for it in range(1, 6) if len({f"{e:.{it}f}" for e in edges}) == len(edges)), 6)
    return (f"{edge:,.{digits}f}" for edge in edges)


def _number(cell: str | None) -> float | None:
    try:
        return None if not cell else float(cell)
    except ValueError:
        return None
