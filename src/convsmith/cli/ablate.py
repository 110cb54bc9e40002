"""convsmith ablate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convsmith.cli.options import AsJson, DataFolder
from convsmith.words import for_terminal


def ablate(
    ladder: Annotated[str, typer.Argument(help="Name of a packaged ladder or recipe, or path of a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to the recipe of every step.")
    ] = None,
    *,
    data: DataFolder,
    out: Annotated[Path | None, typer.Option(help="Folder of runs and results.  [default: runs/LADDER-ladder]")] = None,
    as_json: AsJson = False,
) -> None:
    """Train a ladder of recipes, each adding to the one before, and say what each step gains.

    Each step is a run; finished ones are not repeated. Stopped or killed, the same command goes on. A step that fails
    is noted, the next one comes, and the exit code is 1.

    With data.folds, each step is trained with every fold, and the figures are means with standard errors.

    Example: convsmith ablate cifar10 --data cifar10/ sampling.fraction=0.1

    Example: convsmith ablate resnet18-folder --data photos/ data.folds=5
    """
    import json
    import sys

    from convsmith.jobs.ablation import ablate as run_ladder
    from convsmith.jobs.ablation import ladder_folder

    def announce(name: str, done: int, total: int | None) -> None:
        print(f"step {done + 1} of {total}: {for_terminal(name)}", file=sys.stderr, flush=True)

    folder = out or ladder_folder(ladder)
    result = run_ladder(ladder, data, folder, overrides or (), announce)
    if as_json:
        print(json.dumps(result.to_dict()))
    else:
        result.print()
        print()
        for kind in ("md", "json", "png"):
            print(folder / f"ablation.{kind}")
    if result.failed:
        raise typer.Exit(1)
