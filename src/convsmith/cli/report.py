"""convsmith report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convsmith.cli.options import AsJson, BatchSize


def report(
    place: Annotated[Path, typer.Argument(metavar="RUN|BUNDLE|LADDER", help="A run, a bundle, or a folder of ablate.")],
    *,
    data: Annotated[
        Path | None, typer.Option(help="Images to judge by, as for evaluate: figures, worst errors, thresholds, speed.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The page; its numbers go beside it.  [default: report.html in the run or ladder, else here]"
        ),
    ] = None,
    batch_size: BatchSize = 32,
    as_json: AsJson = False,
) -> None:
    """Write one page about a run, a bundle or a ladder, which opens offline, and its numbers as JSON beside it.

    Every training ends in one. With images the bundle is judged: figures with intervals, confusion, reliability,
    thresholds, the worst errors, speed. Without --data they are those of the last report of a run, if they are there.

    Example: convsmith report runs/photos --data photos/

    Example: convsmith report runs/photos/bundle --data photos/ --out photos.html

    Example: convsmith report runs/cifar10-ladder
    """
    import json

    from convsmith.analyze.report.make_report import page_of
    from convsmith.analyze.report.make_report import report as make_report
    from convsmith.cli.progress import progress_bar

    with progress_bar() as progress:
        facts = make_report(place, data, out, batch_size=batch_size, progress=progress)
    if as_json:
        print(json.dumps(facts.to_dict()))
    else:
        print(f"report: {page_of(place, out)}")
