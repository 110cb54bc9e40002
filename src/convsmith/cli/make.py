"""convsmith make."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convsmith.cli.options import AsJson, Minutes, Offline, Overrides


def make(
    data: Annotated[Path, typer.Argument(help="Folder of images: train/CLASS/* and val/CLASS/*, CLASS/*, or masks.")],
    overrides: Overrides = None,
    *,
    recipe: Annotated[
        str | None, typer.Option(help="Name of a packaged recipe, or path of a YAML file.  [default: by the images]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory.  [default: runs/FOLDER]")] = None,
    minutes: Minutes = None,
    _offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Make a model of a folder of images: choose, train, evaluate, quantize, benchmark, report.

    Each stage is done once: stopped or killed, the same command goes on where it was. The INT8 bundle is recommended
    only if it is as accurate as the float one, and faster here.

    Example: convsmith make photos/ --minutes 20

    Example: convsmith make photos/ --recipe resnet50-in1k --out runs/photos-50 augment.hflip=0
    """
    import json

    from convsmith.analyze.chosen import choose_for_run, run_directory
    from convsmith.cli.progress import progress_bar
    from convsmith.jobs.choice import say_choice

    out, words = out or run_directory(data), overrides or []
    choice = choose_for_run(data, out, words, recipe, minutes, all_stages=True)
    say_choice(choice.reasons, choice.recipe, [*choice.overrides, *words], {"--data": str(data), "--out": str(out)})
    from convsmith.jobs.make import make as make_all

    with progress_bar() as progress:
        made = make_all(data, out, words, recipe=recipe, minutes=minutes, progress=progress)
    if as_json:
        print(json.dumps(made.to_dict()))
    else:
        made.print()
