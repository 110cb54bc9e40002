"""convsmith distil."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convsmith.cli.options import AsJson, Offline


def distil(
    teacher: Annotated[Path, typer.Argument(help="A run directory, or its bundle.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to the student's recipe.")
    ] = None,
    *,
    student: Annotated[str, typer.Option(help="The model that learns: a name that `convsmith models` lists.")],
    data: Annotated[Path, typer.Option(help="The data that the teacher was trained on.")],
    out: Annotated[
        Path | None, typer.Option(help="The student's run directory.  [default: runs/STUDENT-distilled]")
    ] = None,
    max_drop: Annotated[float, typer.Option(min=0, help="Points of the recipe's metric that INT8 may lose.")] = 0.1,
    _offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Train a small model on what a trained one says, make it INT8, and measure all three.

    The student sees the teacher's images, augmented and preprocessed alike, for as many epochs. The same command goes
    on where it was stopped.

    Example: convsmith distil runs/photos --student mobilenet_v2 --data photos/

    Example: convsmith distil runs/photos/bundle --student resnet18 --data photos/ schedule.epochs=100
    """
    import json

    from convsmith.cli.progress import progress_bar
    from convsmith.jobs.distil import distil as run

    with progress_bar() as progress:
        result = run(teacher, student, data, out, overrides or (), max_drop=max_drop, progress=progress)
    if as_json:
        print(json.dumps(result.to_dict()))
    else:
        result.print()
