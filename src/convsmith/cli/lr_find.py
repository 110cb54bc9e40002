"""convsmith lr-find."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convsmith.cli.options import DataFolder, FiguresAsJson, Overrides, RecipeName


def lr_find(
    recipe: RecipeName,
    overrides: Overrides = None,
    *,
    data: DataFolder,
    out: Annotated[
        Path | None, typer.Option(help="Folder for lr_find.png and lr_find.json.  [default: lr-find/RECIPE]")
    ] = None,
    start: Annotated[float, typer.Option("--from", help="Learning rate of the first step.")] = 1e-6,
    end: Annotated[float, typer.Option("--to", help="Learning rate of the last step.")] = 10.0,
    steps: Annotated[int, typer.Option(help="Most optimizer steps to take.")] = 100,
    as_json: FiguresAsJson = False,
) -> None:
    """Look for a learning rate: train some steps with rates that grow, and see where the loss falls and diverges.

    It is not a run: it keeps no weights and changes no run.

    Example: convsmith lr-find resnet18-folder --data photos/
    """
    import json

    from convsmith.analyze.lr_finder import find_lr
    from convsmith.cli.progress import progress_bar
    from convsmith.recipe.load import load_recipe

    checked = load_recipe(recipe, overrides or ())
    out = out or Path("lr-find") / Path(recipe).stem
    with progress_bar() as progress:
        test = find_lr(checked, data, out, start=start, end=end, steps=steps, progress=progress)
    if as_json:
        print(json.dumps(test.to_dict()))
    else:
        test.print()
        print(f"plot: {out / 'lr_find.png'}")
