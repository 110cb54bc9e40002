"""convsmith profile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convsmith.cli.options import DataFolder, FiguresAsJson, Overrides, RecipeName
from convsmith.errors import counted

if TYPE_CHECKING:
    from convsmith.analyze.profile import StepProfile

ROWS = 15


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
        _print(result, out)


def _print(result: StepProfile, out: Path) -> None:
    from convsmith.cli.tables import add_figures, add_names, new_table, print_table

    table = new_table()
    add_names(table, "operator")
    add_figures(table, "ms", "share", "calls")
    for row in result.operators[:ROWS]:
        table.add_row(row.name, f"{1000 * row.seconds:.2f}", f"{row.share:.1%}", f"{row.calls:.0f}")
    print_table(table)
    table = new_table()
    add_names(table, "module", "kind")
    add_figures(table, "ms", "forward", "backward", "share")
    for row in result.modules[:ROWS]:
        times = (row.seconds, row.forward, row.seconds - row.forward)
        table.add_row(row.name, row.kind, *(f"{1000 * it:.2f}" for it in times), f"{row.share:.1%}")
    print_table(table)
    speed = f"{result.batch / result.seconds:,.1f} images/s"
    place = f"{result.device} in {result.precision}, {counted(result.workers, 'loader worker')}"
    print(f"step:  {1000 * result.seconds:.1f} ms for {counted(result.batch, 'image')}, {speed}; {place}")
    print(result.sentence)
    print(result.advice)
    print(f"trace: {out / 'trace.json'}")
