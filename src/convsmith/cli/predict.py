"""convsmith predict."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from convsmith.cli.options import BundleDirectory
from convsmith.cli.text import printable
from convsmith.errors import ConvsmithError

if TYPE_CHECKING:
    from convsmith.bundle.classification import Classification
    from convsmith.bundle.predictor import Bundle
    from convsmith.cli.image_paths import Complain

Answer = TypeVar("Answer")
Write = Callable[[str, "Classification"], None]
MAX_LABEL_COLUMN = 40


class Format(StrEnum):
    """How predictions are printed."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"


def predict(
    bundle: BundleDirectory,
    paths: Annotated[list[str], typer.Argument(help="Images, folders or patterns; - reads one image from stdin.")],
    output: Annotated[Format | None, typer.Option("--format", help="table (default), jsonl or csv.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format jsonl.")] = False,
    top: Annotated[
        int | None, typer.Option(min=1, help="Classes printed for each image: 1 of a classifier, all of a mask.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for masks and overlays of a segmentation.  [default: predictions]")
    ] = None,
) -> None:
    """Say what is on images. A bad file is one line on standard error and exit code 1; the others are predicted.

    A bundle for segmentation writes, for each image, NAME.png (the class of each pixel, with a palette),
    NAME.overlay.jpg (their colours over the image) and NAME.json (the area of each class) into a folder.

    Example: convsmith predict runs/photos/bundle holiday/ cat.jpg --top 3

    Example: convsmith predict runs/streets/bundle street.jpg --out masks/
    """
    import sys
    import warnings

    from convsmith.bundle.predictor import load
    from convsmith.cli.image_paths import find_images
    from convsmith.cli.predict_masks import predict_masks

    if as_json and output not in (None, Format.JSONL):
        raise ConvsmithError(f"--json and --format {output} exclude each other")
    warnings.filterwarnings("ignore", module=r"PIL\.")  # Pillow comments on what it repairs in damaged files
    model = load(bundle)
    complaints = 0

    def complain(name: str, reason: str) -> None:
        nonlocal complaints
        complaints += 1
        print(f"error: {printable(name)}: {printable(reason)}", file=sys.stderr)

    _print_names_as_they_are()
    images, shown = find_images(paths, complain), Format.JSONL if as_json else output or Format.TABLE
    if model.manifest.task == "segmentation":
        predict_masks(model, _counted(images), out or Path("predictions"), shown, top, complain)
    elif out is not None:
        raise ConvsmithError("--out is for masks", "this bundle is a classifier, whose answers are printed", "Omit it.")
    else:
        _predict_classes(model, images, _writer(shown, model.labels, top or 1), complain)
    if complaints:
        raise typer.Exit(1)


def _predict_classes(
    model: Bundle, images: Iterator[tuple[str, Path | bytes]], write: Write, complain: Complain
) -> None:
    from convsmith.bundle.classification import Classification
    from convsmith.bundle.decode import ImageError

    names: deque[str] = deque()

    def sources() -> Iterator[Path | bytes]:
        for name, image in images:
            names.append(name)
            yield image

    for answer in _counted(model.predict_many(sources())):
        if isinstance(answer, ImageError):
            complain(names.popleft(), answer.why)
        else:
            assert isinstance(answer, Classification)
            write(names.popleft(), answer)


def _print_names_as_they_are() -> None:
    """A name whose bytes are no text comes out as it went in."""
    import io
    import sys

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")


def _writer(output: Format, labels: tuple[str, ...], top: int) -> Write:
    """A function that prints one prediction at once."""
    if output == Format.TABLE:
        return _table(labels, top)
    return _json_lines(top) if output == Format.JSONL else _csv(top)


def _table(labels: tuple[str, ...], top: int) -> Write:
    from rich.cells import cell_len

    width = max(5, min(MAX_LABEL_COLUMN, max(cell_len(printable(label)) for label in labels)))
    print(f"{'SCORE':>7}  {'LABEL':<{width}}  IMAGE")

    def write(name: str, answer: Classification) -> None:
        for entry in answer.top(top):
            label = printable(entry.label)
            space = " " * (width - cell_len(label))
            print(f"{entry.score:7.2%}  {label}{space}  {printable(name)}", flush=True)

    return write


def _json_lines(top: int) -> Write:
    import json

    def write(name: str, answer: Classification) -> None:
        print(json.dumps({"path": name, **answer.to_dict(top)}), flush=True)

    return write


def _csv(top: int) -> Write:
    import csv
    import sys

    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(["path", "rank", "class_id", "label", "score"])

    def write(name: str, answer: Classification) -> None:
        for rank, entry in enumerate(answer.top(top), 1):
            rows.writerow([name, rank, entry.class_id, entry.label, entry.score])
        sys.stdout.flush()

    return write


def _counted(answers: Iterator[Answer]) -> Iterator[Answer]:
    """Count on the terminal what goes by, unless the predictions themselves go there."""
    import sys

    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    if sys.stdout.isatty() or not sys.stderr.isatty():
        yield from answers
        return
    columns = SpinnerColumn(), TextColumn("images: {task.completed}")
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("predict", total=None)
        for answer in answers:
            yield answer
            bar.advance(task)
