"""convsmith evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convsmith.cli.options import AllowCode, AsJson, DeviceName, RuntimeName
from convsmith.cli.text import for_terminal
from convsmith.errors import counted

if TYPE_CHECKING:
    from rich.table import Table

    from convsmith.bundle import task
    from convsmith.bundle.evaluation import Evaluation

MAX_CONFUSION = 20


def evaluate(
    bundle: Annotated[Path, typer.Argument(help="A bundle of any format, or a run, which has one inside.")],
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="How to segment instead, such as flip=true scales=[0.75,1,1.25]."
        ),
    ] = None,
    *,
    data: Annotated[
        Path, typer.Option(help="The data it was trained on, or a folder with val/CLASS/* or CLASS/*, or with masks.")
    ],
    batch_size: Annotated[int, typer.Option(min=1, help="Images of a classifier in one forward pass.")] = 32,
    boundary_iou: Annotated[bool, typer.Option("--boundary-iou", help="Of masks, measure the boundaries too.")] = False,
    device: DeviceName = "auto",
    runtime: RuntimeName = None,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
) -> None:
    """Measure a bundle on labelled images: accuracy or IoU, per class, confusion matrix.

    Example: convsmith evaluate runs/photos/bundle --data photos/

    Example: convsmith evaluate runs/streets/bundle --data streets/ flip=true scales=[0.75,1,1.25]

    Example: convsmith evaluate runs/photos/bundle --data photos/ --device cuda --runtime tensorrt
    """
    import json
    import sys

    from convsmith.analyze.evaluate import evaluate_bundle
    from convsmith.bundle.format import bundle_folder, read_manifest
    from convsmith.bundle.task import find_task
    from convsmith.cli.progress import progress_bar
    from convsmith.recipe.layers import override_layer

    with progress_bar() as progress:
        report = evaluate_bundle(
            bundle,
            data,
            batch_size,
            progress,
            boundary=boundary_iou,
            preprocess=override_layer(changes or ()).values,
            allow_code=allow_code,
            device=device,
            runtime=runtime,
        )
    manifest = read_manifest(bundle_folder(bundle))
    if manifest.data_digest and not report.is_part:
        print(
            "warning: all labelled images of the data are judged, including any that the bundle was trained on",
            file=sys.stderr,
        )
    for line in report.unreadable:
        print(f"left out: {for_terminal(line)}", file=sys.stderr)
    if as_json:
        print(json.dumps(report.to_dict()))
    else:
        print_report(report, find_task(manifest.task))


def print_report(report: Evaluation, of: task.Task) -> None:
    """Print the figures over all images, and a table of the classes."""
    from convsmith.cli.tables import fits, print_table

    said = of.tabulate(report)
    images = counted(report.images, "validation image" if report.held_out else "image")
    print("  ".join([images, *said.headline]))
    classes = len(report.labels) if said.confusion else 0
    shown = classes if classes <= MAX_CONFUSION else 0
    while shown and not fits(_class_table(report, said, shown)):
        shown -= 1
    print_table(_class_table(report, said, shown))
    if shown:
        print("Columns are what the bundle says; --json has all figures.")
    if shown < classes:
        print(f"What the bundle says has {classes - shown} more columns than fit here; --json has them all.")
    for line in said.remarks:
        print(line)


def _class_table(report: Evaluation, said: task.Table, shown: int) -> Table:
    """A line for each class, with the first columns of the confusion."""
    from rich.markup import escape

    from convsmith.cli.tables import add_figures, add_names, new_table

    labels = [escape(for_terminal(label)) for label in report.labels]
    table = new_table()
    add_names(table, "class")
    add_figures(table, *said.columns)
    add_names(table, *labels[:shown])
    cells = zip(*said.columns.values(), strict=True)
    for label, row, figures in zip(labels, report.confusion, cells, strict=True):
        table.add_row(label, *figures, *(str(count) if count else "" for count in row[:shown]))
    return table
