"""convsmith benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convsmith.cli.options import AllowCode, AsJson, DeviceName
from convsmith.devices import RUNTIMES
from convsmith.errors import ConvsmithError
from convsmith.words import for_terminal


def benchmark(
    bundles: Annotated[list[Path], typer.Argument(help="Bundles of any format, or runs, which have one inside.")],
    *,
    runtimes: Annotated[
        str | None,
        typer.Option(
            "--runtime",
            "--runtimes",
            metavar="NAMES",
            help=f"Of {', '.join(RUNTIMES)}, torch, with commas.  [default: each bundle's own]",
        ),
    ] = None,
    device: DeviceName = "auto",
    batch: Annotated[str, typer.Option(help="Images at a time, with commas.")] = "1,8,32",
    images: Annotated[Path | None, typer.Option(help="Folder of images.  [default: a made-up photo, 500x375]")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of each runtime.  [default: all cores]")] = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="How long each row is measured.")] = 3.0,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
) -> None:
    """Measure how long bundles take: decoding, preprocessing and inference, apart and together.

    torch is the bundle's architecture in eager mode, with random weights. Compare what one call printed: other calls
    met another machine, or the same one when it had other things to do.

    Example: convsmith benchmark runs/photos/bundle --runtime onnxruntime,openvino,torch --batch 1,8

    Example: convsmith benchmark exports/* --images photos/ --device cuda --json
    """
    import json
    import sys

    from convsmith.analyze.benchmark import benchmark as measure
    from convsmith.cli.progress import progress_bar

    with progress_bar() as progress:
        report = measure(
            bundles,
            [name.strip() for name in runtimes.split(",")] if runtimes else (),
            _batches(batch),
            images=images,
            device=device,
            threads=threads,
            seconds=seconds,
            allow_code=allow_code,
            progress=progress,
        )
    for line in report.left_out:
        print(f"left out: {for_terminal(line)}", file=sys.stderr)
    if as_json:
        print(json.dumps(report.to_dict()))
    else:
        report.print()


def _batches(text: str) -> list[int]:
    numbers = text.split(",")
    if not all(number.strip().isdecimal() and int(number) for number in numbers):
        raise ConvsmithError(f"--batch {text} is not a list of numbers", fix="Such as --batch 1,8,32.")
    return [int(number) for number in numbers]
