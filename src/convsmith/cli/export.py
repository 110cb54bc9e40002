"""convsmith export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convsmith.cli.options import AsJson
from convsmith.deploy.formats import CANDIDATES, list_formats
from convsmith.errors import ConvsmithError


def export(
    place: Annotated[Path, typer.Argument(metavar="RUN|BUNDLE", help="A run directory, or a bundle in ONNX.")],
    *,
    file_format: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help=f"What to make: {', '.join(list_formats())}; auto: the faster of {' and '.join(CANDIDATES)} here.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write; an export there is replaced.")],
    data: Annotated[Path, typer.Option(help="Images to prove it on: what evaluate takes, or a folder of images.")],
    opset: Annotated[
        int | None, typer.Option(help="ONNX operators' version, 11 to 23; of a run only.  [default: 20]")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="HEIGHTxWIDTH", help="Fix the size of what a segmentation looks at.")
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="How many images prove it.  [default: 256, fewer of large ones]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a trained model in another format, once it has proved to say what the trained one says.

    The artefact runs in its own runtime on real images, beside the model that it was made of: the torch model of a run,
    or the ONNX file of a bundle. What is farther apart than rounding is not written. The result is a bundle again, with
    the figures in it; `evaluate` and `benchmark` take bundles of every format, `predict` and `serve` those of onnx, web
    and openvino.

    Example: convsmith export runs/photos --format openvino --out exports/openvino --data photos/

    Example: convsmith export runs/photos --format triton --out models/photos --data photos/

    Example: convsmith export runs/streets/bundle --format onnx --size 512x1024 --out exports/fixed --data streets/
    """
    import json

    from convsmith.cli.progress import progress_bar
    from convsmith.jobs.export import export as export_model

    with progress_bar() as progress:
        progress(f"make {file_format}", 0, 1)
        report = export_model(
            place,
            file_format,
            out,
            data,
            opset=opset,
            size=_size(size) if size else None,
            images=images,
            progress=progress,
        )
    if as_json:
        print(json.dumps(report.to_dict()))
    else:
        report.print()


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise ConvsmithError(f"--size {text} is not a size", fix="Give height and width in pixels, such as 512x1024.")
    return int(height), int(width)
