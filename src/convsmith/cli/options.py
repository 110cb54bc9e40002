"""Arguments and options that several commands share: one type and one help text each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from convsmith.devices import DEVICES, RUNTIMES
from convsmith.training.observers.trackers import list_trackers

if TYPE_CHECKING:
    _Tracker = str
else:
    _Tracker = Literal[tuple(list_trackers())]


def complete_recipe(beginning: str) -> list[str]:
    """Names of packaged recipes, for a shell that completes words."""
    from convsmith.recipe.packaged import list_recipes

    return [name for name in list_recipes() if name.startswith(beginning)]


RecipeName = Annotated[
    str, typer.Argument(help="Name of a packaged recipe, or path of a YAML file.", autocompletion=complete_recipe)
]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to the recipe.")]
BundleDirectory = Annotated[Path, typer.Argument(help="A bundle, or a run, which has one inside.")]

DataFolder = Annotated[Path, typer.Option(help="Folder of images: train/CLASS/* and val/CLASS/*, or CLASS/*.")]
Nodes = Annotated[int, typer.Option(min=1, help="Machines.")]
Finetune = Annotated[
    str | None,
    typer.Option(
        metavar="CKPT", help="Start from these weights: a checkpoint file, a run directory, or a published name."
    ),
]
Shard = Annotated[
    bool,
    typer.Option(
        "--shard",
        help="Of several processes, each keeps only its share of weights, gradients, optimizer state and average.",
    ),
]
Minutes = Annotated[
    float | None,
    typer.Option(min=0.1, help="End in so many minutes from now: measures some steps, and picks what fits."),
]
TrackerName = Annotated[
    _Tracker | None,
    typer.Option(
        envvar="CONVSMITH_TRACKER",
        help="Also log to a tracking service, which its own variables configure, as MLFLOW_TRACKING_URI.",
    ),
]


def _stay_offline(wanted: bool) -> bool:
    """Tell all that may download, and the processes that are started, by the variable of the environment."""
    if wanted:
        os.environ["CONVSMITH_OFFLINE"] = "1"
    return wanted


Offline = Annotated[
    bool,
    typer.Option(
        "--offline", envvar="CONVSMITH_OFFLINE", callback=_stay_offline, help="Use what is here; never the network."
    ),
]
DeviceName = Annotated[
    str,
    typer.Option(
        "--device", metavar="NAME", help=f"What runs the model: {', '.join(DEVICES)}; cuda:1 is the second GPU."
    ),
]
RuntimeName = Annotated[
    str | None,
    typer.Option("--runtime", metavar="NAME", help=f"One of {', '.join(RUNTIMES)}.  [default: by the bundle's format]"),
]
JudgedPart = Annotated[
    Literal["train", "val", "test"] | None,
    typer.Option("--split", help="The part of the data to judge by.  [default: val, or what was held out for it]"),
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Images of a classifier in one forward pass.")]
AllowCode = Annotated[bool, typer.Option("--allow-code", help="Run bundles that may hold code, such as TorchScript.")]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
FiguresAsJson = Annotated[bool, typer.Option("--json", help="Print all figures as one JSON object.")]
FactsAsJson = Annotated[bool, typer.Option("--json", help="Print a JSON list with all facts.")]
