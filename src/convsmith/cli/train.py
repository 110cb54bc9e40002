"""convsmith train."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from convsmith.cli.options import Finetune, Minutes, Offline, Overrides, Shard, TrackerName, complete_recipe
from convsmith.errors import ConvsmithError
from convsmith.machine import runs_folder
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
    from convsmith.data.remedies import refuse_what_is_no_folder, remedy_for
    from convsmith.launch.world import World
    from convsmith.recipe.load import load_recipe
    from convsmith.recipe.yaml_text import write_yaml

    world = World.of_environment()
    if minutes is not None and max(devices, world.size) > 1:
        raise ConvsmithError(
            "--minutes goes with one process",
            "it is measured in one how long steps take",
            "Leave it out, and set schedule.epochs; `convsmith profile` measures a step.",
        )
    if devices > 1 and world.size == 1:
        _launch(devices, max_restarts)
        return
    if devices > 1 and (not world.placed or devices != world.local_size):
        raise ConvsmithError(
            f"--devices {devices} starts processes, but a launcher has started {world.size} already",
            "the environment says so (RANK and WORLD_SIZE, or those of mpirun or srun)",
            "Leave out --devices; for several processes on each machine, let torchrun start them.",
        )
    words = overrides or []
    start = [] if finetune is None else [f"model.weights={write_yaml(finetune)}"]
    named = None if _is_data(recipe) else recipe
    if named is None:
        if data is not None:
            raise ConvsmithError(
                f"`{recipe}` and --data {data} are both {'folders' if Path(recipe).is_dir() else 'data'}",
                fix=f"Drop --data to train on `{recipe}`, or name a recipe in place of `{recipe}`.",
            )
        data = Path(recipe)
    elif data is None and ("://" in recipe or remedy_for([Path(recipe).suffix.lower()])):
        refuse_what_is_no_folder(Path(recipe))
    if data is not None and (named is None or minutes is not None):
        from convsmith.analyze.chosen import choose_for_run, run_directory
        from convsmith.cli.choice import say_choice

        default = run_directory(data) if named is None else runs_folder() / Path(recipe).stem
        is_new, out = out is None and not default.exists(), out or default
        choice = choose_for_run(data, out, [*words, *start], named, minutes)
        recipe, words = choice.recipe, [*choice.overrides, *words]
        reasons, before = choice.reasons, runs_folder() / recipe
        if is_new and before != out and (before / "recipe.yaml").exists():
            reasons += (f"{before} holds a run: if it is of these images, go on with it by --out {before}",)
        options: dict[str, object] = {"--data": data, "--out": out, "--finetune": finetune, "--tracker": tracker}
        options |= {"--devices": devices if devices > 1 else None, "--shard": "" if shard else None, "--extend": extend}
        if world.leads:
            say_choice(reasons, recipe, words, {k: str(v) for k, v in options.items() if v is not None})
    checked = load_recipe(recipe, [*words, *start])
    if data is None:
        alone = f" To train on the folder of that name, write {recipe}/." if Path(recipe).is_dir() else ""
        raise ConvsmithError(
            "--data is missing",
            f"`{recipe}` is a recipe, and it needs images",
            f"Add the folder of images with --data.{alone}",
        )
    from convsmith.training.log_file import log_file
    from convsmith.training.observers.tracker import make_tracker
    from convsmith.training.train import train as run_training

    observers = [make_tracker(tracker)] if tracker else []
    out = out or runs_folder() / Path(recipe).stem
    patience = timedelta(seconds=peer_timeout)
    run = run_training(
        checked, data, out, resume=resume, observers=observers, peer_timeout=patience, shard=shard, extend=extend
    )
    if world.leads:
        with log_file(run.path), output_that_may_be_lost("stdout"):
            print(f"run:    {run.path}")
            print(f"bundle: {run.bundle}")
            say_the_last_words("stdout")


def _launch(devices: int, max_restarts: int) -> None:
    """Run this same command in several processes, which find out from their environment that they are those."""
    import sys

    from convsmith.launch.local import launch
    from convsmith.machine import available_cores

    launch(sys.argv[1:], devices, max(1, available_cores() // devices), max_restarts)


def _is_data(given: str) -> bool:
    """Whether it is a folder, or a file of data, and not the name of a recipe, which counts first; a path is none."""
    from convsmith.data.source import is_known
    from convsmith.recipe.packaged import list_recipes

    return given not in list_recipes() and (Path(given).is_dir() or is_known(Path(given)))
