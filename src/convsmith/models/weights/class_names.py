"""Which classes weights tell apart, where that is known: as many classes are not the same classes."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from convsmith.bundle.format import read_manifest
from convsmith.errors import ConvsmithError
from convsmith.models.base import VisionModel
from convsmith.models.weights.checkpoint_file import some
from convsmith.models.weights.published import list_weights
from convsmith.models.weights.published import weights as published
from convsmith.waiting import read_file

logger = logging.getLogger(__name__)


def fit_head_to_classes(model: VisionModel, weights: str | Path, classes: Sequence[str], trained: bool = False) -> None:
    """Let a model that `weights` were loaded into tell `classes` apart, in their order.

    The same names in another order move the rows of its heads. Other names give it new heads, and the log says so.
    Nothing is done where the weights do not say what they tell apart, or where there are more or fewer classes:
    `load_weights` has gone by the number.

    Args:
        model: has a head for as many classes.
        weights: a published name, or the file.
        classes: names, in the order wanted.
        trained: refuse other names instead.

    Raises:
        ConvsmithError: the names are others, and that is refused.
    """
    known = classes_of(weights)
    if known is None or len(known) != len(classes) or known == tuple(classes):
        return
    rows = rows_of(known, classes)
    if rows is not None:
        model.reorder_head(rows)
        logger.info("%s: its %d classes are in another order here, and so are the rows of the head", weights, len(rows))
    elif weights in list_weights():
        return  # folders of the same classes often have other names, such as n01440764 for tench
    elif trained:
        raise ConvsmithError(
            f"{weights} gives no head for the classes {some(tuple(classes))}",
            f"its own is for {some(known)}, and a new one would answer at random",
            "Choose weights that were trained on these classes.",
        )
    else:
        logger.warning(
            "%s: the head is for other classes (%s), the model has %s; the model keeps its own head",
            weights, some(known), some(tuple(classes)),
        )  # fmt: skip
        model.reset_head(len(classes))


def classes_of(weights: str | Path) -> tuple[str, ...] | None:
    """Names of the classes that weights tell apart, in the order of their logits; None where that is not known.

    Published weights have the publisher's names. A checkpoint of a run states its own; for one that is older than that,
    the bundle of its run does.
    """
    if weights in list_weights():
        return published(str(weights)).categories
    file = Path(weights)
    with suppress(OSError, ValueError, AttributeError, TypeError, RecursionError):  # whatever else is called so
        if named := json.loads(read_file(file.parent / "state.json")).get("classes"):
            return tuple(map(str, named))
        with suppress(ConvsmithError, IndexError):
            return read_manifest(file.resolve().parents[2] / "bundle").labels
    return None


def rows_of(known: Sequence[str], wanted: Sequence[str]) -> list[int] | None:
    """Where in `known` each of `wanted` is; None unless both are the same names, each once."""
    if len(set(known)) < len(known) or sorted(known) != sorted(wanted):
        return None
    return [known.index(name) for name in wanted]
