"""The figures of each class in the best epoch, beside the run: what a report shows without judging again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convsmith.errors import ConvsmithError
from convsmith.storage import write_file
from convsmith.waiting import read_file

if TYPE_CHECKING:
    from convsmith.tasks.base import ValidationResults

FILE = "validation.json"
_MOST_CLASSES = 2000  # of more, counts of all pairs take too much memory beside a training


def write_validation(run: Path, figures: Mapping[str, float], results: ValidationResults, num_classes: int) -> None:
    """Keep what a validation found out about each class.

    Args:
        run: the run directory.
        figures: over all images, which tell whether the file is of the epoch that the bundle is of.
        results: of the validation.
        num_classes: K; nothing is kept of more than 2,000.
    """
    if num_classes > _MOST_CLASSES:
        return
    confusion = results.confusion_matrix(num_classes)
    rows, columns = np.nonzero(confusion)
    counts = np.stack([rows, columns, confusion[rows, columns]], axis=1)
    found = {"figures": dict(figures), "classes": results.by_class(num_classes), "confusion": counts.tolist()}
    write_file(run / FILE, json.dumps(found) + "\n")


def read_validation(run: Path, figures: Mapping[str, float], num_classes: int) -> dict[str, Any] | None:
    """The `classes` and the `confusion`, counts [K][K], of a run; None where they were not kept, or of another epoch.

    Args:
        run: the run directory.
        figures: those of the bundle.
        num_classes: K.
    """
    try:
        found = json.loads(read_file(run / FILE))
        if found["figures"] != dict(figures):
            return None
        confusion = np.zeros((num_classes, num_classes), np.int64)
        for row, column, count in found["confusion"]:
            confusion[row, column] = count
        classes = {str(name): tuple(values) for name, values in found["classes"].items()}
    except (ConvsmithError, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None
    return {"classes": classes, "confusion": confusion.tolist()}
