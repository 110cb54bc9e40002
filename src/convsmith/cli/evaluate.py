"""convsmith evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convsmith.cli.text import printable

if TYPE_CHECKING:
    from convsmith.analyze.evaluate import Evaluation

MAX_CONFUSION = 20


def evaluate(
    bundle: Annotated[Path, typer.Argument(help="A bundle directory.")],
    data: Annotated[Path, typer.Option(help="The data it was trained on, or a folder with val/CLASS/* or CLASS/*.")],
    batch_size: Annotated[int, typer.Option(min=1, help="Images in one forward pass.")] = 32,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a bundle on labelled images: top-1, top-5, per class, confusion matrix.

    Example: convsmith evaluate runs/photos/bundle --data photos/
    """
    import json
    import sys

    from rich.console import Console
    from rich.progress import Progress

    from convsmith.analyze.evaluate import evaluate_bundle
    from convsmith.bundle.format import read_manifest

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("evaluate", total=None)
        report = evaluate_bundle(
            bundle, data, batch_size, lambda done, total: bar.update(task, completed=done, total=total)
        )
    if not report.held_out and read_manifest(bundle).data_digest and not (data / "val").is_dir():
        print(
            "warning: all labelled images of the folder are judged, including any that the bundle was trained on",
            file=sys.stderr,
        )
    for line in report.unreadable:
        print(f"left out: {printable(line)}", file=sys.stderr)
    if as_json:
        print(json.dumps(report.to_dict()))
    else:
        _print_report(report)


def _print_report(report: Evaluation) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    kind = "validation images" if report.held_out else "images"
    figures = f"top-1 {report.top1:.2%}  top-5 {report.top5:.2%}  loss {report.loss:.4f}"
    console.print(f"{report.images} {kind}  {figures}", highlight=False)
    show_confusion = len(report.labels) <= MAX_CONFUSION
    labels = [escape(printable(label)) for label in report.labels]
    table = Table("class", "images", "right", *(labels if show_confusion else []))
    for k, label in enumerate(labels):
        row, right = report.confusion[k], report.per_class[k]
        cells = [str(count) if count else "" for count in row] if show_confusion else []
        table.add_row(label, str(sum(row)), "" if right is None else f"{right:.2%}", *cells)
    console.print(table)
    if show_confusion:
        console.print("Columns are what the bundle says; --json has all figures.", highlight=False)
