"""Answers to many images at once. Needs no torch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from convsmith.allocation import keep_freed_memory
from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.predictor import Bundle, load
from convsmith.bundle.preprocess import ImageSource
from convsmith.bundle.task import csv_columns, find_task
from convsmith.data.folders.image_paths import Named, named_images
from convsmith.progress import ProgressCallback, notebook_progress
from convsmith.recipe.data import data_section
from convsmith.tables import Tabular, add_figures, add_names, new_table
from convsmith.words import for_terminal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.table import Table


@dataclass(frozen=True, repr=False, eq=False)
class Predictions(Tabular, Sequence[Any]):
    """The answers to some images, in their order: `predictions[0]`, `for answer in predictions`.

    Attributes:
        task: what was asked.
        names: of the images: their paths, or `images[3]` of the fourth one without a path.
        answers: a `Classification` or a `Segmentation` each, or the `ImageError` of one that cannot be read.
        top: how many classes of each image are listed; None: one of a classifier, all of a mask.
        columns: titles of what `records` has of each class.

    Examples:
        >>> answers = cs.predict("runs/photos", ["photos/val/red/0.png", "photos/val/blue/0.png"])
        >>> answers.names, [row["label"] for row in answers.records()]
        (('photos/val/red/0.png', 'photos/val/blue/0.png'), ['red', 'blue'])
    """

    task: str
    names: tuple[str, ...]
    answers: tuple[Any, ...]
    top: int | None
    columns: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.answers)

    @overload
    def __getitem__(self, number: int) -> Any: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Any]: ...
    def __getitem__(self, number: int | slice) -> Any:
        """The answer to an image, or to several."""
        return self.answers[number]

    def records(self) -> list[dict[str, Any]]:
        """A row for each class that is listed of each image, as in CSV; one with the `error` of a bad image."""
        task, rows = find_task(self.task), []
        for name, answer in zip(self.names, self.answers, strict=True):
            if isinstance(answer, ImageError):
                rows.append({"image": name, **dict.fromkeys(self.columns), "error": answer.why})
                continue
            for values in task.csv_rows(answer, self.top):
                rows.append({"image": name, **dict(zip(self.columns, values, strict=True)), "error": None})
        return rows

    def parts(self) -> Iterator[str | Table]:
        """A table of the classes of each image, and a line for each bad one."""
        from rich.markup import escape

        task, table = find_task(self.task), new_table()
        add_names(table, "image", "label")
        add_figures(table, "share" if task.pictures else "score")
        for name, answer in zip(self.names, self.answers, strict=True):
            for share, label in () if isinstance(answer, ImageError) else task.entries(answer, self.top):
                table.add_row(escape(for_terminal(name)), escape(for_terminal(label)), share)
        yield table
        for name, answer in zip(self.names, self.answers, strict=True):
            if isinstance(answer, ImageError):
                yield f"error: {for_terminal(name)}: {for_terminal(answer.in_a_line)}"


def predict(
    bundle: str | Path | Bundle[Any],
    images: ImageSource | Iterable[ImageSource],
    *,
    top: int | None = None,
    batch_size: int = 32,
    threads: int | None = None,
    runtime: str | None = None,
    device: str = "auto",
    progress: ProgressCallback = notebook_progress,
) -> Predictions:
    """Answer images with a bundle. All answers are held in memory: `Bundle.predict_many` gives them one by one.

    Args:
        bundle: the bundle's folder, the run directory that it is in, or one that is loaded.
        images: one image or several, each of a kind that `Bundle.predict` takes. The path of a folder stands for the
            images in it and below, and one with `*`, `?` or `[` for those whose paths fit; that of a table, or of tar
            shards, for the images that it names or holds, which need no labels.
        top: how many classes of each image are listed.
        batch_size: images of a classifier in one forward pass.
        threads: as `load` takes them.
        runtime: likewise.
        device: likewise.
        progress: called with how many images are answered.

    Raises:
        ConvsmithError: the bundle cannot be used, or a folder or pattern gives no image.

    Examples:
        >>> answers = cs.predict("runs/photos", "photos/val/red")
        >>> [answer.label for answer in answers]
        ['red', 'red', 'red', 'red']
    """
    keep_freed_memory()
    model = bundle if isinstance(bundle, Bundle) else load(bundle, threads, runtime, device)
    names, answers = [], []
    section = data_section(model.manifest.recipe)
    for name, answer, _ in answers_to(model, named_images(images, section), batch_size):
        names.append(name)
        answers.append(answer)
        progress("predict", len(names), None)
    progress("predict", len(names), len(names))
    return Predictions(model.manifest.task, tuple(names), tuple(answers), top, tuple(csv_columns(model.manifest)))


def answers_to(
    model: Bundle[Any], images: Iterable[Named], batch_size: int = 32
) -> Iterator[tuple[str, Any | ImageError, NDArray[np.uint8] | ImageError]]:
    """The name of each image, the answer or an ImageError, and what was preprocessed."""
    names: deque[str] = deque()

    def sources() -> Iterator[ImageSource]:
        for name, image in images:
            names.append(name)
            yield image

    for answer, pixels in model.read_and_predict(sources(), batch_size):
        yield names.popleft(), answer, pixels
