"""Images that are nearly the same where they must not be, or far from all others of their class, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from convsmith.data.checks.copies import Copies
from convsmith.data.checks.facts import Suspects
from convsmith.data.checks.look import Looks
from convsmith.data.checks.names import MOST_NAMED, all_names
from convsmith.data.checks.near import Images, Kind, Nearest
from convsmith.data.checks.outliers import distances_to_class, find_outliers
from convsmith.data.dataset import DataSet, Split
from convsmith.errors import counted

_COMPARED: tuple[Split, ...] = ("train", "val")


class NearCopies(NamedTuple):
    """Pairs of them, by what they are.

    Attributes:
        copies: in training and validation, or of different classes.
        repeated: in one class of one split, where they do less harm.
    """

    copies: tuple[Copies, ...]
    repeated: tuple[Copies, ...]


def compared_images(dataset: DataSet, looks: Mapping[Split, Looks]) -> Images:
    """The images of training and validation, by the prints that a look at them took."""
    rows = [looks[split].rows for split in _COMPARED]
    prints = [looks[split].prints for split in _COMPARED]
    return Images(
        hashes=np.concatenate([part["hash"] for part in prints]),
        features=np.concatenate([part["colours"] for part in prints]),
        judged=np.repeat([False, True], list(map(len, rows))),
        targets=np.concatenate([dataset.train.targets, dataset.val.targets]),
        contents=np.concatenate([part["content"][:, 0] for part in rows]),
        mirrored=np.concatenate([part["mirrored"] for part in prints]),
    )


def name_near(dataset: DataSet, found: Nearest, relation: str) -> NearCopies:
    """The pairs of each kind by name.

    Args:
        dataset: its training and validation images were compared.
        found: for each of them, those that are nearest to it.
        relation: what two of them are, as in `a is nearly the same as b`.
    """
    name, copies = all_names(dataset), {}
    for kind in Kind:
        pairs = found.pairs(kind)
        if not len(pairs):
            continue
        named = tuple((name(one), name(other)) for one, other in pairs[:MOST_NAMED])
        number = len(np.unique(pairs[:, 0]))
        subject = f"{counted(number, 'validation image' if kind == Kind.LEAKED else 'image')} {_are(number)} {relation}"
        told = f"{subject} {_OTHER[kind]}, such as {named[0][0]} and {named[0][1]}"
        copies[kind] = Copies(told, number, named)
    strict = tuple(copies[kind] for kind in (Kind.LEAKED, Kind.UNLIKE) if kind in copies)
    return NearCopies(strict, (copies[Kind.REPEATED],) if Kind.REPEATED in copies else ())


_OTHER = {
    Kind.LEAKED: "a training image",
    Kind.UNLIKE: "one with another label",
    Kind.REPEATED: "another of the same class and split",
}


def name_outliers(dataset: DataSet, images: Images, sign: str) -> Suspects | None:
    """The images that are far from all others of their class, by their features; None if there are none.

    Args:
        dataset: its training and validation images were compared.
        images: they themselves.
        sign: what these are, in words.
    """
    there = np.flatnonzero(images.hashes)
    classes = images.targets[there]
    found = there[find_outliers(distances_to_class(images.features[there], classes), classes)]
    name = all_names(dataset)
    return Suspects(sign, len(found), tuple(map(name, found[:MOST_NAMED]))) if len(found) else None


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
