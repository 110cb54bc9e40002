"""convsmith evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convsmith.cli.options import AllowCode, AsJson, BatchSize, DeviceName, JudgedPart, RuntimeName
from convsmith.words import for_terminal


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
    split: JudgedPart = None,
    batch_size: BatchSize = 32,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--slice", metavar="COLUMN", help="Compare parts by a column of the data's table; may be repeated."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a row for each image: .csv, .jsonl or .parquet.")
    ] = None,
    boundary_iou: Annotated[bool, typer.Option("--boundary-iou", help="Of masks, measure the boundaries too.")] = False,
    device: DeviceName = "auto",
    runtime: RuntimeName = None,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
) -> None:
    """Measure a bundle on labelled images: accuracy or IoU, per class, confusion matrix, and where it is worse.

    Example: convsmith evaluate runs/photos/bundle --data photos/

    Example: convsmith evaluate runs/photos --data photos/ --split test

    Example: convsmith evaluate runs/photos --data photos/labels.csv --slice camera --out predictions.csv

    Example: convsmith evaluate runs/streets/bundle --data streets/ flip=true scales=[0.75,1,1.25]

    Example: convsmith evaluate runs/photos/bundle --data photos/ --device cuda --runtime tensorrt
    """
    import json
    import sys

    from convsmith.analyze.evaluate import evaluate_bundle
    from convsmith.bundle.format import bundle_folder, read_manifest
    from convsmith.cli.progress import progress_bar
    from convsmith.recipe.layers import override_layer

    with progress_bar() as progress:
        report = evaluate_bundle(
            bundle,
            data,
            batch_size,
            progress,
            split=split,
            boundary=boundary_iou,
            preprocess=override_layer(changes or ()).values,
            allow_code=allow_code,
            device=device,
            runtime=runtime,
            columns=columns or (),
            out=out,
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
        report.print()
