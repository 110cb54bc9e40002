"""convsmith data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convsmith.cli.options import AsJson

app = typer.Typer(no_args_is_help=True, help="Images to train on.")
demo = typer.Typer(no_args_is_help=True, help="Write a real data set that needs no download.")
app.add_typer(demo, name="demo")


@demo.command()
def digits(
    out: Annotated[Path, typer.Argument(help="Folder to write; new, empty, or holding these digits.")],
    as_json: AsJson = False,
) -> None:
    """Write scikit-learn's 1,797 handwritten digits as an image folder of train and val.

    Example: convsmith data demo digits digits/
    """
    import json

    from convsmith.data.demo import write_digits

    counts = write_digits(out)
    if as_json:
        print(json.dumps({"path": str(out), **counts}))
    else:
        print(f"{out}: {counts['train']} training and {counts['val']} validation images in 10 classes")


@demo.command("digit-scenes")
def digit_scenes(
    out: Annotated[Path, typer.Argument(help="Folder to write; new, empty, or holding these scenes.")],
    train: Annotated[int, typer.Option(help="Scenes to train on.", min=1)] = 240,
    val: Annotated[int, typer.Option(help="Scenes to validate on.", min=1)] = 60,
    height: Annotated[int, typer.Option(help="Of a scene in pixels.", min=16, max=4096)] = 96,
    width: Annotated[int, typer.Option(help="Of a scene in pixels.", min=16, max=4096)] = 128,
    as_json: AsJson = False,
) -> None:
    """Write scenes of handwritten digits on photographs, with a mask for each, to learn segmentation on.

    Example: convsmith data demo digit-scenes scenes/
    """
    import json

    from convsmith.data.scenes import CLASSES, write_digit_scenes

    counts = write_digit_scenes(out, train, val, (height, width))
    if as_json:
        print(json.dumps({"path": str(out), **counts}))
    else:
        print(f"{out}: {counts['train']} training and {counts['val']} validation scenes in {len(CLASSES)} classes")
