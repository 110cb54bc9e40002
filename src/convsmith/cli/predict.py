"""convsmith predict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from convsmith.cli.options import BundleDirectory, DeviceName, RuntimeName
from convsmith.errors import ConvsmithError, counted
from convsmith.words import for_terminal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from convsmith.bundle.predictor import Bundle
    from convsmith.bundle.task import Task
    from convsmith.data.folders.image_list import ImageList
    from convsmith.data.folders.image_paths import Named
    from convsmith.jobs.ray_workers import Cluster

Item = TypeVar("Item")
Write = Callable[[str, Any, "NDArray[np.uint8]"], None]
"""Gets an image's name, the answer, and what was preprocessed."""

MAX_LABEL_COLUMN = 40


class Output(StrEnum):
    """How predictions are printed."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"


def predict(
    bundle: BundleDirectory,
    paths: Annotated[
        list[str], typer.Argument(help="Images, folders, patterns, tables or tar shards; - reads one image from stdin.")
    ],
    *,
    output: Annotated[Output | None, typer.Option("--format", help="table (default), jsonl or csv.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format jsonl.")] = False,
    top: Annotated[
        int | None, typer.Option(min=1, help="Classes printed for each image: 1 of a classifier, all of a mask.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File for a row of each image: .parquet, .csv or .jsonl. Or, of a segmentation, folder for masks and "
            "overlays.  [default: predictions]"
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="With --out FILE: let the machines of a Ray cluster answer; `auto`: its own."
        ),
    ] = None,
    device: DeviceName = "auto",
    runtime: RuntimeName = None,
) -> None:
    """Say what is on images. A bad file is one line on standard error and exit code 1; the others are predicted.

    A bundle for segmentation writes, for each image, NAME.png (the class of each pixel, with a palette),
    NAME.overlay.jpg (their colours over the image) and NAME.json (the area of each class) into a folder.

    With --out FILE every image has its row, a bad one with its error; the same command goes on where it was ended.

    Example: convsmith predict runs/photos/bundle holiday/ cat.jpg --top 3

    Example: convsmith predict runs/streets/bundle street.jpg --out masks/

    Example: convsmith predict runs/photos/bundle holiday/ --device cuda --json

    Example: convsmith predict runs/photos/bundle "shards/new-*.tar" --out predictions.parquet

    Example: convsmith predict runs/photos/bundle s3://ours/shards --out predictions.parquet --ray auto
    """
    import warnings
    from contextlib import nullcontext

    from convsmith.bundle.images.image_error import ImageError
    from convsmith.bundle.predictor import load
    from convsmith.cli.bad_images import BadImages, note
    from convsmith.data.folders.image_list import ImageList
    from convsmith.data.folders.image_paths import find_places, flatten
    from convsmith.jobs.predict import answers_to
    from convsmith.jobs.prediction_rows import ENDINGS
    from convsmith.jobs.ray_workers import Cluster
    from convsmith.output import output_that_may_be_lost
    from convsmith.recipe.data import data_section

    if as_json and output not in (None, Output.JSONL):
        raise ConvsmithError(f"--json and --format {output} exclude each other")
    into_file = out is not None and out.suffix.lower() in ENDINGS
    if out is not None and into_file:
        _check_file(out, paths, output)
    elif ray is not None:
        raise ConvsmithError("--ray needs a file for rows", "", "Give --out predictions.parquet, .csv or .jsonl.")
    warnings.filterwarnings("ignore", module=r"PIL\.")  # Pillow comments on what it repairs in damaged files
    model = load(bundle, runtime=runtime, device=device)
    bad = BadImages()
    _print_names_as_they_are()
    places = find_places(paths, bad.complain, note, data_section(model.manifest.recipe))
    if out is not None and into_file:
        cluster = None if ray is None else Cluster(ray, runtime, device)
        _write_rows(model, ImageList(places), out, top, cluster=cluster, as_json=as_json)
        bad.end()
        return
    shown = Output.JSONL if as_json else output or Output.TABLE
    if out is not None and not model.task.pictures:
        why = f"of this bundle --out is a file for rows that ends in {', '.join(ENDINGS)}"
        raise ConvsmithError(f"{out} does not say what to write", why, "Name it so, or omit it to print the answers.")
    images: Iterator[Named] = flatten(places)
    with output_that_may_be_lost("stdout") if model.task.pictures else nullcontext():
        writers = [_printer(shown, model, top)]
        if model.task.pictures:
            folder = out or Path("predictions")
            writers.insert(0, _drawer(model.task, folder))
            images = _outside(folder, images)
        for name, answer, pixels in _counted(answers_to(model, images)):
            if isinstance(answer, ImageError) or isinstance(pixels, ImageError):
                bad.complain(name, answer.in_a_line)
                continue
            for write in writers:
                write(name, answer, pixels)
    bad.end()


def _check_file(out: Path, paths: Sequence[str], output: Output | None) -> None:
    """Raise a ConvsmithError for a file that would replace what is read, and for what says another way to print."""
    if output is not None:
        raise ConvsmithError(f"--out {out} and --format {output} exclude each other", "the file's name says the format")
    if any(Path(path).resolve() == out.resolve() for path in paths):
        raise ConvsmithError(f"{out} is read as well", "it would be replaced", "Choose another --out.")


def _write_rows(
    model: Bundle, images: ImageList, out: Path, top: int | None, *, cluster: Cluster | None, as_json: bool
) -> None:
    """Write a row for each image, and say how many there are and how many are bad; with bad ones, end with code 1."""
    import json

    from convsmith.cli.progress import progress_bar
    from convsmith.jobs.predict_into import write_predictions

    if not len(images):
        return  # a line has said so of each path
    with progress_bar() as progress:
        written = write_predictions(model, images, out, top=top, cluster=cluster, progress=progress)
    told = {"images": written.images, "bad": written.bad, "out": str(out)}
    left = f", {written.bad:,} of them with an error" if written.bad else ""
    print(json.dumps(told) if as_json else f"{out}: {counted(written.images, 'image')}{left}")
    if written.bad:
        raise typer.Exit(1)


def _outside(folder: Path, images: Iterator[Named]) -> Iterator[Named]:
    """The same images; a ConvsmithError for one that lies in the folder for masks, where they would replace it."""
    from convsmith.analyze.picture_names import refuse_inside

    for name, source in images:
        refuse_inside(folder, name, source, "mask")
        yield name, source


def _drawer(task: Task, out: Path) -> Write:
    """A function that writes all pictures of one answer, and its summary, into a folder."""
    import json

    from convsmith.analyze.picture_names import free_stem
    from convsmith.errors import of_system
    from convsmith.storage import clear_abandoned, write_file

    taken: set[str] = set()
    if out.is_dir():
        clear_abandoned(out)

    def write(name: str, answer: Any, pixels: NDArray[np.uint8]) -> None:
        stem = free_stem(name, taken)
        try:
            out.mkdir(parents=True, exist_ok=True)
            for kind, ending in task.pictures.items():
                write_file(out / f"{stem}{ending}", task.draw(answer, pixels, kind))
            write_file(out / f"{stem}.json", json.dumps({"path": for_terminal(name), **task.summary(answer)}) + "\n")
        except OSError as error:
            told = of_system(error, f"cannot write into {out}")
            told.fix = f"{told.fix} Or choose another folder with --out.".lstrip()
            raise told from error

    return write


def _print_names_as_they_are() -> None:
    """A name whose bytes are not text comes out as it went in."""
    import io
    import sys

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")


def _printer(output: Output, model: Bundle, top: int | None) -> Write:
    """A function that prints one answer at once."""
    if output == Output.JSONL:
        return _json_lines(model.task, top)
    if output == Output.CSV:
        return _csv(model, top)
    return _rows(model, top) if model.task.listed else _lines(model.task, top)


def _rows(model: Bundle, top: int | None) -> Write:
    from rich.cells import cell_len

    calibration = model.manifest.calibration
    longest = max(cell_len(for_terminal(label)) for label in model.labels)
    if calibration is not None and calibration.columns():  # sets and `unknown` stand beside labels
        longest = MAX_LABEL_COLUMN
    width = max(5, min(MAX_LABEL_COLUMN, longest))
    print(f"{'SCORE':>7}  {'LABEL':<{width}}  IMAGE")

    def write(name: str, answer: Any, _pixels: NDArray[np.uint8]) -> None:
        for share, given in model.task.entries(answer, top):
            label = for_terminal(given)
            space = " " * (width - cell_len(label))
            print(f"{share:>7}  {label}{space}  {for_terminal(name)}", flush=True)

    return write


def _lines(task: Task, top: int | None) -> Write:
    def write(name: str, answer: Any, _pixels: NDArray[np.uint8]) -> None:
        entries = [f"{share} {for_terminal(label)}" for share, label in task.entries(answer, top)]
        print(f"{for_terminal(name)}  {', '.join(entries)}", flush=True)

    return write


def _json_lines(task: Task, top: int | None) -> Write:
    import json

    def write(name: str, answer: Any, _pixels: NDArray[np.uint8]) -> None:
        print(json.dumps({"path": name, **task.summary(answer, top)}), flush=True)

    return write


def _csv(model: Bundle, top: int | None) -> Write:
    import csv
    import sys

    from convsmith.bundle.task import csv_columns

    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(["path", *csv_columns(model.manifest)])

    def write(name: str, answer: Any, _pixels: NDArray[np.uint8]) -> None:
        rows.writerows([name, *row] for row in model.task.csv_rows(answer, top))
        sys.stdout.flush()

    return write


def _counted(items: Iterator[Item]) -> Iterator[Item]:
    """Count on the terminal what goes by, unless the predictions themselves go there."""
    import sys

    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    if sys.stdout.isatty() or not sys.stderr.isatty():
        yield from items
        return
    columns = SpinnerColumn(), TextColumn("images: {task.completed}")
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("predict", total=None)
        for item in items:
            yield item
            bar.advance(task)
