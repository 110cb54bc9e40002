"""convsmith train."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from convsmith.cli.options import Finetune, Minutes, Offline, Overrides, Shard, TrackerName, complete_recipe
from convsmith.output import output_that_may_be_lost, say_the_last_words


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="Name of a packaged recipe, or path of a YAML file; or the folder of images alone.",
            autocompletion=complete_recipe,
        ),
    ],
    overrides: Overrides = None,
    *,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of images: train/CLASS/* and val/CLASS/*, or CLASS/*. Needed with a recipe."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory.  [default: runs/RECIPE, or runs/FOLDER]")] = None,
    finetune: Finetune = None,
    resume: Annotated[
        str,
        typer.Option(
            metavar="auto|never|CHECKPOINT",
            help="`auto` goes on with the run that the directory holds, a checkpoint's folder from there.",
        ),
    ] = "auto",
    devices: Annotated[
        int, typer.Option(min=1, help="GPUs, or CPU processes, of this machine to train on; not under torchrun.")
    ] = 1,
    shard: Shard = False,
    max_restarts: Annotated[
        int, typer.Option(min=0, help="How often to go on from the last checkpoint after one of several was lost.")
    ] = 0,
    peer_timeout: Annotated[
        float, typer.Option(min=1, help="Seconds that one of several processes waits for the others.")
    ] = 600,
    tracker: TrackerName = None,
    minutes: Minutes = None,
    extend: Annotated[
        int | None,
        typer.Option(min=1, help="More epochs for a finished run: a second cycle, from a tenth of its learning rate."),
    ] = None,
    _offline: Offline = False,
) -> None:
    """Train a recipe on a folder of images, and pack the best epoch into a bundle.

    Stopped or killed, the same command goes on where it was, with the same result.

    With --finetune, which sets model.weights, a head for other classes starts anew. With schedule.epochs=0 besides,
    nothing is trained: published weights, or a file of yours, become a bundle as they are.

    Given a folder of images alone, it chooses a recipe by their number, size and balance, and says why. With --minutes,
    it measures some steps and takes as many epochs as fit, or a faster recipe where few do.

    Example: convsmith train photos/ --minutes 20

    Example: convsmith train resnet18-folder --data photos/ --out runs/photos schedule.epochs=30

    Example: convsmith train cifar_resnet20-cifar10 --data cifar10/ --finetune official.th schedule.epochs=0

    Example: convsmith train photos/ --extend 30

    Example: convsmith train resnet50-in1k --data imagenet/ --devices 8

    Example: convsmith train convnext_large-in1k --data imagenet/ --devices 8 --shard
    """
    from convsmith.launch.world import World

    world = World.of_environment()
    if devices > 1 and world.size == 1 and minutes is None:
        _launch(devices, max_restarts)
        return
    from convsmith.jobs.train import train as run_training

    run = run_training(
        recipe,
        data,
        out,
        resume,
        overrides=overrides or (),
        weights=finetune,
        devices=devices,
        tracker=tracker,
        minutes=minutes,
        extend=extend,
        shard=shard,
        max_restarts=max_restarts,
        peer_timeout=timedelta(seconds=peer_timeout),
    )
    if world.leads:
        from convsmith.training.log_file import log_file

        with log_file(run.path), output_that_may_be_lost("stdout"):
            print(f"run:    {run.path}")
            print(f"bundle: {run.bundle}")
            say_the_last_words("stdout")


def _launch(devices: int, max_restarts: int) -> None:
    """Run this same command in several processes, which find out from their environment that they are those."""
    import sys

    from convsmith.jobs.train import threads_of_each
    from convsmith.launch.local import launch

    launch(sys.argv[1:], devices, threads_of_each(devices), max_restarts)
