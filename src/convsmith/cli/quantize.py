"""convsmith quantize."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from convsmith.cli.options import AsJson


def quantize(
    bundle: Annotated[Path, typer.Argument(help="A float bundle, or a run directory, which has it inside.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Of `qat`: changes to the recipe.")
    ] = None,
    *,
    data: Annotated[
        Path, typer.Option(help="The data it was trained on, or a folder of the same classes: train/* and val/*.")
    ],
    out: Annotated[Path | None, typer.Option(help="The INT8 bundle's directory.  [default: BUNDLE-int8]")] = None,
    method: Annotated[
        Literal["static", "dynamic", "qat"],
        typer.Option(help="`static`: all layers; `dynamic`: the linear ones only; `qat`: train on, with rounding."),
    ] = "static",
    target: Annotated[
        Literal["any-x86", "vnni", "arm"] | None,
        typer.Option(
            help="The processors it is for: `any-x86` holds weights to 7 bits, whose sums are exact without VNNI too.  "
            "[default: any-x86, or what this one is where that loses more than --max-drop]"
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Of `static`: points of the recipe's metric that may be lost; layers stay in float until it is less.  "
            "[default: 0.1]",
        ),
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="Of `static`: training images to calibrate with.  [default: 512]")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Of `static`: chooses them; the same seed gives the same ONNX file.  [default: 0]"),
    ] = None,
    speed: Annotated[
        bool, typer.Option("--speed", help="Also measure how fast both are here, for some seconds.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make an INT8 bundle of a float one: four times smaller, and faster; and measure what it loses.

    Ranges and float layers are chosen by training images, both forms are judged by the validation images.

    `--method qat` takes the bundle of a run, trains its model on for some epochs with rounding in OUT-run, and goes on
    there where it was stopped.

    Example: convsmith quantize runs/photos/bundle --data photos/

    Example: convsmith quantize runs/streets/bundle --data streets/ --out streets-int8 --max-drop 0.5

    Example: convsmith quantize runs/photos --data photos/ --method qat schedule.epochs=5
    """
    import json
    import shlex

    from convsmith.bundle.format import bundle_folder
    from convsmith.cli.progress import progress_bar
    from convsmith.jobs.quantize import quantize as run
    from convsmith.storage import beside

    source = bundle_folder(bundle)
    out = out or beside(source, "-int8")
    with progress_bar() as progress:
        report = run(
            source,
            data,
            out,
            overrides or (),
            method=method,
            target=target,
            max_drop=max_drop,
            images=images,
            seed=seed,
            speed=speed,
            progress=progress,
        )
    if as_json:
        print(json.dumps({"bundle": str(out), **report.to_dict()}))
    else:
        report.print()
        print(f"bundle: {out}")
        if not speed:
            print(f"speed:  {shlex.join(['convsmith', 'benchmark', str(source), str(out)])}")
