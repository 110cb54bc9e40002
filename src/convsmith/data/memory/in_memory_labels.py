"""Several labels to an image that Python holds: names, or 0 and 1 for each class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from convsmith.data.packed_labels import PackedLabels
from convsmith.errors import ConvsmithError, quoted


def labels_of(targets: Iterable[Any]) -> list[list[str]]:
    """The names of the labels of each image: those in its list, or the numbers of the places that hold 1.

    Raises:
        ConvsmithError: it is neither a list of names nor as many 0 and 1 as the others.
    """
    plain = [_plain(target) for target in targets]
    if all(isinstance(it, str) for target in plain for it in target):
        return [list(dict.fromkeys(target)) for target in plain]
    if any(it not in (0, 1) for target in plain for it in target) or len({len(target) for target in plain}) > 1:
        raise ConvsmithError(
            "the labels of images in memory are neither names nor a 0 or 1 for each class",
            f"the first ones are {str(plain[0])[:80]}",
            "Give each image a list of names, or a row of a matrix [N, K] of 0 and 1.",
        )
    return [[str(k) for k, there in enumerate(target) if there] for target in plain]


def pack_labels(labels: Sequence[Sequence[str]], classes: Sequence[str]) -> PackedLabels:
    """The labels of images as positions among the classes, all of which are known."""
    place = {name: k for k, name in enumerate(classes)}
    pairs = [(i, place[name]) for i, names in enumerate(labels) for name in names]
    rows = np.array([i for i, _ in pairs], np.int64)
    return PackedLabels.pack(rows, np.array([k for _, k in pairs], np.int32), (len(labels), len(classes)))


def check_labels(classes: Sequence[str], unknown: Iterable[str]) -> None:
    """Raise a ConvsmithError for fewer classes than two, or for labels that only validation images have."""
    if len(classes) < 2:
        raise ConvsmithError(f"there are fewer than two labels in memory: {', '.join(classes)}")
    if names := sorted(unknown):
        raise ConvsmithError(
            f"no training image has the label {quoted(names)} of validation images",
            fix="Leave these out, or give training images of them.",
        )


def _plain(target: Any) -> list[Any]:
    values = target.tolist() if hasattr(target, "tolist") else target
    if isinstance(values, str) or not isinstance(values, list | tuple | set | frozenset):
        raise ConvsmithError(
            f"the labels of an image in memory are a {type(target).__name__}",
            "with several labels it has a list of names, or a 0 or 1 for each class",
        )
    return sorted(values) if isinstance(values, set | frozenset) else list(values)
