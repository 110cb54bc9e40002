"""convsmith train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def train(
    recipe: Annotated[str, typer.Argument(help="Name of a packaged recipe, or path of a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to the recipe.")
    ] = None,
    *,
    data: Annotated[Path, typer.Option(help="Folder of images: train/CLASS/* and val/CLASS/*, or CLASS/*.")],
    out: Annotated[Path | None, typer.Option(help="Run directory.  [default: runs/RECIPE]")] = None,
    finetune: Annotated[
        str | None,
        typer.Option(
            metavar="CKPT", help="Start from these weights: a checkpoint file, a run directory, or a published name."
        ),
    ] = None,
    resume: Annotated[
        Literal["auto", "never"], typer.Option(help="`auto` goes on with the run that the directory holds.")
    ] = "auto",
) -> None:
    """Train a recipe on a folder of images, and pack the best epoch into a bundle.

    Stopped or killed, the same command goes on where it was, with the same result.

    With --finetune, which sets model.weights, a head for other classes starts anew.

    Example: convsmith train resnet18-folder --data photos/ --out runs/photos schedule.epochs=30
    """
    from convsmith.recipe.load import load_recipe
    from convsmith.training.train import train as run_training

    checked = load_recipe(recipe, overrides or ())
    if finetune is not None:
        checked = checked.model_copy(update={"model": checked.model.model_copy(update={"weights": finetune})})
    run = run_training(checked, data, out or Path("runs") / Path(recipe).stem, resume=resume)
    print(f"run:    {run.path}")
    print(f"bundle: {run.bundle}")
