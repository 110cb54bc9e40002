"""convsmith data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Images to train on.")
demo = typer.Typer(no_args_is_help=True, help="Write a real data set that needs no download.")
app.add_typer(demo, name="demo")


@demo.command()
def digits(
    out: Annotated[Path, typer.Argument(help="Folder to write; new, empty, or holding these digits.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
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
