"""convsmith compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convsmith.cli.options import AllowCode, BatchSize, DeviceName, FiguresAsJson, JudgedPart


def compare(
    models: Annotated[list[Path], typer.Argument(metavar="A B [C]...", help="Bundles of any format, or runs.")],
    *,
    data: Annotated[Path, typer.Option(help="Labelled images, as `evaluate` takes them.")],
    split: JudgedPart = None,
    batch_size: BatchSize = 32,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what each says of each image: .csv, .jsonl or .parquet.")
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html", help="Write a page that shows all of it, with the curves of runs over each other."
        ),
    ] = None,
    device: DeviceName = "auto",
    allow_code: AllowCode = False,
    as_json: FiguresAsJson = False,
) -> None:
    """Compare models on the same images: which is better, how surely, on which images, how fast and how large.

    The exit code is 0 whatever is found; `better` of --json says whether the last model is better than the first: true,
    false or "unclear".

    Example: convsmith compare runs/resnet20 runs/resnet56 --data photos/

    Example: convsmith compare runs/a runs/b --data photos/ --page compared.html

    Example: convsmith compare runs/photos runs/photos-int8 --data photos/ --json | jq .better
    """
    import json

    from convsmith.analyze.compare import compare as compare_models
    from convsmith.cli.progress import progress_bar

    with progress_bar() as progress:
        found = compare_models(
            models,
            data,
            split=split,
            batch_size=batch_size,
            out=out,
            page=page,
            device=device,
            allow_code=allow_code,
            progress=progress,
        )
    if as_json:
        print(json.dumps(found.to_dict()))
    else:
        found.print()
