"""convsmith profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convsmith.cli.options import DataFolder, FiguresAsJson, Overrides, RecipeName


def profile(
    recipe: RecipeName,
    overrides: Overrides = None,
    *,
    data: DataFolder,
    out: Annotated[
        Path | None, typer.Option(help="Folder for profile.json and trace.json.  [default: profile/RECIPE]")
    ] = None,
    steps: Annotated[int, typer.Option(help="Optimizer steps to time, after some that warm up.")] = 20,
    as_json: FiguresAsJson = False,
) -> None:
    """Say where the time of a training step goes: by operator, by module, and what bounds it.

    It is not a run: it keeps no weights and changes no run. Open trace.json in chrome://tracing or ui.perfetto.dev.

    Example: convsmith profile resnet18-folder --data photos/
    """
    import json

    from convsmith.analyze.profile import profile_training
    from convsmith.cli.progress import progress_bar
    from convsmith.recipe.load import load_recipe

    checked = load_recipe(recipe, overrides or ())
    out = out or Path("profile") / Path(recipe).stem
    with progress_bar() as progress:
        result = profile_training(checked, data, out, steps, progress)
    if as_json:
        print(json.dumps(result.to_dict()))
    else:
        result.print()
        print(f"trace: {out / 'trace.json'}")
