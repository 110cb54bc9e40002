"""Where data come from. A source is one file of `sources/` that has a `SOURCE`; nothing else lists it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from convsmith.data.contents import Contents
from convsmith.data.dataset import DataSet, Samples
from convsmith.data.parts import Part
from convsmith.data.sources import list_sources
from convsmith.data.split import Share
from convsmith.errors import ConvsmithError
from convsmith.recipe.data import Data
from convsmith.waiting import answer_of

SPECIAL_KEYS = ("columns", "root", "pattern")
"""Keys of a recipe's `data` that are for some sources only; of others they are refused."""


def no_doubt(_root: Path) -> None:
    """Take whatever the source recognises for data of the task."""


def any_task(_root: Path) -> None:
    """Leave it to others what the data are for."""


@dataclass(frozen=True)
class Opener:
    """How a source opens the data of one task. Each call raises a ConvsmithError for what cannot be used as it is.

    Attributes:
        open: gives the splits, from the path, the recipe's `data` section, and what to hold out of `train` where there
            are not any for validation; None holds nothing out.
        labelled: gives what a trained model is judged by where it has not been trained on these data, and whether
            that is a part of them; from the path, the section, the model's classes, whose order numbers the targets,
            and the name of the part, see `part_to_judge`.
        keys: those of the section that only some sources know, and this one does, of `SPECIAL_KEYS`.
        doubt: refuses what is more likely to be data of another task; asked before anything has looked at the data.
    """

    open: Callable[[Path, Data, Share | None], DataSet]
    labelled: Callable[[Path, Data, Sequence[str], Part | None], tuple[Samples, bool]]
    doubt: Callable[[Path], None] = no_doubt
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """One kind of place that data come from.

    Attributes:
        recognises: whether a path is such a place.
        tasks: how it opens the data of each task that it has data for, by the task's name.
        task_of: the name of the task that the data at a path are for, as far as they say it themselves.
        images: gives all images at a path, whatever is said of them; from the path and a recipe's `data` section. None
            where they are found as those of any folder.
        last: it is taken only where no other source recognises the path, and says what is wrong with any other path.
    """

    recognises: Callable[[Path], bool]
    tasks: Mapping[str, Opener]
    task_of: Callable[[Path], str | None] = any_task
    images: Callable[[Path, Data], Contents] | None = None
    last: bool = False


def find_opener(task: str, root: Path) -> Opener:
    """How the data of a task are opened at a path.

    Raises:
        ConvsmithError: what lies there holds no data of that task.
        NotAnswering: the disk that it is on does not answer.
    """
    answer_of(root.exists, str(root))
    if opener := next((source.tasks[task] for source in _recognising(root) if task in source.tasks), None):
        return opener
    raise ConvsmithError(f"{root} holds no data for {task}", fix="Give data of another kind, or another recipe.")


def is_known(root: Path) -> bool:
    """Whether a source recognises a path itself, not only because no other does."""
    return any(not source.last for source in _recognising(root))


def images_at(root: Path, section: Data) -> Contents | None:
    """All images at a path in their order, with labels or without; None where no source holds images in its own way.

    Args:
        root: a file, a folder, or what stands for one, such as an address.
        section: a recipe's `data`, which may name the column of a table that holds images, and the folder that they
            lie in; what is not there is passed over.

    Raises:
        ConvsmithError: it cannot be read, or has no images.
    """
    return next((source.images(root, section) for source in _recognising(root) if source.images), None)


def task_of(root: Path) -> str | None:
    """The name of the task that the data at a path say themselves that they are for; None where they do not."""
    return next(filter(None, (source.task_of(root) for source in _recognising(root))), None)


def _recognising(root: Path) -> list[Source]:
    """The sources that recognise a path, those that take what is left last."""
    sources: list[Source] = [import_module(f"convsmith.data.sources.{name}").SOURCE for name in list_sources()]
    return sorted((source for source in sources if source.recognises(root)), key=lambda source: source.last)
