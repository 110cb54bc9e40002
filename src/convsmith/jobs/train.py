"""The main job as a user asks for it: by a recipe or by images alone, in one process or in several."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from convsmith.bundle.format import holds_run
from convsmith.data.memory.in_memory import InMemory, in_memory
from convsmith.errors import ConvsmithError, did_you_mean, missing_package
from convsmith.jobs.choice import say_choice
from convsmith.launch.local import launch
from convsmith.launch.world import TIMEOUT, World
from convsmith.machine import available_cores, runs_folder
from convsmith.recipe.load import as_recipe, name_of, recipe_to_yaml
from convsmith.recipe.schema import Recipe
from convsmith.recipe.yaml_text import write_yaml
from convsmith.training.observers.trackers import list_trackers

if TYPE_CHECKING:
    from convsmith.training.observers.base import Observer
    from convsmith.training.run import Run

TRACKER_VARIABLE = "CONVSMITH_TRACKER"


def train(
    recipe: Recipe | str | Path,
    data: object = None,
    out: str | Path | None = None,
    resume: str | Path = "auto",
    observers: Sequence[Observer] = (),
    *,
    overrides: Sequence[str] = (),
    weights: str | Path | None = None,
    devices: int = 1,
    tracker: str | None = None,
    minutes: float | None = None,
    extend: int | None = None,
    shard: bool = False,
    max_restarts: int = 0,
    peer_timeout: timedelta = TIMEOUT,
) -> Run:
    """Train a recipe on a folder of images and pack the best epoch into `out/bundle`, as `convsmith train` does.

    Started by torchrun, it is one of several processes that train together. The first of them writes the run directory,
    calls the observers and packs the bundle; the others return when the training is over.

    Args:
        recipe: a recipe, or the name or path of one; or the images alone, for which one is chosen.
        data: folder of images, see `open_data`, or images that Python holds, see `in_memory`; needed with a recipe.
        out: the run directory. A run of the same recipe that it holds is gone on with, bit for bit as if it had never
            stopped; a finished one is left as it is. None: `runs/RECIPE`, or `runs/FOLDER` of images alone.
        resume: `never` refuses a directory that holds a run; the folder of a checkpoint is gone on from, see
            `named_checkpoint`.
        observers: further watchers besides console, metrics.jsonl and TensorBoard, told after those, and of the end
            before them; in one process.
        overrides: changes to the recipe, as `key=value` words.
        weights: to start from: a published name, a checkpoint file, or a run directory; as `model.weights`.
        devices: GPUs, or CPU processes, of this machine to train on. Several are processes of their own, which print
            where this one does.
        tracker: one of `list_trackers()`; None: the one that CONVSMITH_TRACKER names, if any.
        minutes: end in them: measures some steps, and picks what fits, see `fit_to_time`. In one process.
        extend: more epochs for a finished run, see `with_extra_phase`; its bundle so far becomes `bundle-before-extra`.
        shard: each of several processes keeps only its share of weights, gradients, optimizer state and average. All
            of them write checkpoints, so all have to see `out`.
        max_restarts: how often to go on from the last checkpoint after one of several processes was lost.
        peer_timeout: how long one of several processes waits for the others before that is an error.

    Raises:
        ConvsmithError: something in the recipe, the data or the directory must be put right.
        PeerLost: another process has ended, or has not answered in time; the same call of all goes on.
        LaunchFailed: one of several processes that were started has failed, or was stopped.
        TrainingInterrupted: SIGINT, SIGTERM or SIGUSR1 came; the same call goes on.

    Examples:
        >>> run = cs.train("digits", "photos/", "runs/new", overrides=["model.num_classes=null", "schedule.epochs=1"])
        >>> cs.evaluate(run.bundle, "photos/").images
        12
    """
    world = World.of_environment()
    _check_processes(world, devices, minutes, observers)
    held = None if data is None else in_memory(data)
    if held is not None and (minutes is not None or (devices > 1 and world.size == 1)):
        raise ConvsmithError(
            "images in memory go with one process and a recipe as it is",
            "--minutes looks at files, and --devices trains in processes of their own",
            "Write the images into a folder, or leave that out.",
        )
    tracker = tracker or os.environ.get(TRACKER_VARIABLE) or None
    _check_tracker(tracker)
    if devices > 1 and world.size == 1:
        options: dict[str, object] = {
            "--resume": resume,
            "--finetune": weights,
            "--tracker": tracker,
            "--extend": extend,
        }
        options |= {"--max-restarts": max_restarts, "--peer-timeout": peer_timeout.total_seconds()}
        return _train_in_processes(
            recipe, None if data is None else str(data), out, overrides, devices=devices, shard=shard, options=options
        )
    start = [] if weights is None else [f"model.weights={write_yaml(str(weights))}"]
    named, found = _told_apart(recipe, None if data is None else held or Path(str(data)))
    words = [*overrides]
    if isinstance(found, str | Path) and (named is None or minutes is not None):
        said: dict[str, object] = {"--finetune": weights, "--tracker": tracker}
        said |= {"--devices": devices if devices > 1 else None, "--shard": "" if shard else None, "--extend": extend}
        named, words, out = _choose(
            named, found, out, words, start=start, minutes=minutes, said=said if world.leads else None
        )
    assert named is not None
    checked = as_recipe(named, [*words, *start])
    if found is None:
        raise _data_is_missing(named)
    from convsmith.analyze.report.at_end import ReportAtEnd
    from convsmith.training.train import train as run_training

    return run_training(
        checked,
        found,
        out or runs_folder() / name_of(named),
        resume=resume,
        observers=[
            *observers,
            *([_tracker(tracker)] if tracker else []),
            ReportAtEnd(Path(found) if isinstance(found, str | Path) else None),
        ],
        peer_timeout=peer_timeout,
        shard=shard,
        extend=extend,
    )


def _check_tracker(name: str | None) -> None:
    """Raise a ConvsmithError if there is no such tracking service."""
    if name not in (None, *list_trackers()):
        raise ConvsmithError(
            f"there is no tracker `{name}`{did_you_mean(str(name), list_trackers())}",
            fix=f"There are {', '.join(list_trackers())}.",
        )


def _tracker(name: str) -> Observer:
    from convsmith.training.observers.tracker import make_tracker

    try:
        return make_tracker(name)
    except ModuleNotFoundError as error:
        raise missing_package(error) or error from error


def _told_apart(
    recipe: Recipe | str | Path, data: Path | InMemory | None
) -> tuple[Recipe | str | Path | None, str | Path | InMemory | None]:
    """The recipe, None where images alone were given; and the images, None where a recipe alone was.

    Raises:
        ConvsmithError: both are images, or the recipe looks like images but is none.
    """
    if not isinstance(recipe, Recipe) and _is_data(recipe):
        if data is not None:
            raise ConvsmithError(
                f"`{recipe}` and --data {data} are both {'folders' if Path(recipe).is_dir() else 'data'}",
                fix=f"Drop --data to train on `{recipe}`, or name a recipe in place of `{recipe}`.",
            )
        return None, recipe
    if data is None and not isinstance(recipe, Recipe):
        _refuse_what_is_no_recipe(str(recipe))
    return recipe, data


def _choose(
    named: Recipe | str | Path | None,
    data: str | Path,
    out: str | Path | None,
    words: Sequence[str],
    *,
    start: Sequence[str],
    minutes: float | None,
    said: dict[str, object] | None,
) -> tuple[str, list[str], Path]:
    """Choose what the user left open: the recipe, its changes, and the run directory.

    Args:
        named: the recipe, where the user has chosen it.
        data: the images.
        out: the run directory, where the user has chosen it.
        words: changes to the recipe.
        start: those that come last, and name the weights.
        minutes: that it may take.
        said: further options of the command, to say why it was chosen so; None: say nothing.
    """
    from convsmith.analyze.chosen import choose_for_run, run_directory

    if isinstance(named, Recipe):
        raise ConvsmithError(
            "--minutes goes with the name or path of a recipe", fix="Name it, and give its changes as `overrides`."
        )
    default = run_directory(Path(data)) if named is None else runs_folder() / name_of(named)
    is_new, out = out is None and not default.exists(), Path(out or default)
    choice = choose_for_run(Path(data), out, [*words, *start], None if named is None else str(named), minutes)
    words = [*choice.overrides, *words]
    reasons, before = choice.reasons, runs_folder() / choice.recipe
    if is_new and before != out and holds_run(before):
        reasons += (f"{before} holds a run: if it is of these images, go on with it by --out {before}",)
    if said is not None:
        options = {"--data": data, "--out": out, **said}
        say_choice(reasons, choice.recipe, words, {k: str(v) for k, v in options.items() if v is not None})
    return choice.recipe, [*words], out


def _data_is_missing(recipe: Recipe | str | Path) -> ConvsmithError:
    is_named = not isinstance(recipe, Recipe)
    alone = f" To train on the folder of that name, write {recipe}/." if is_named and Path(str(recipe)).is_dir() else ""
    return ConvsmithError(
        "--data is missing",
        f"`{recipe if is_named else name_of(recipe)}` is a recipe, and it needs images",
        f"Add the folder of images with --data.{alone}",
    )


def threads_of_each(devices: int) -> int:
    """Threads that each of so many processes of this machine computes with."""
    return max(1, available_cores() // devices)


def _check_processes(world: World, devices: int, minutes: float | None, observers: Sequence[Observer]) -> None:
    """Raise a ConvsmithError for what cannot be had in so many processes."""
    if minutes is not None and max(devices, world.size) > 1:
        raise ConvsmithError(
            "--minutes goes with one process",
            "it is measured in one how long steps take",
            "Leave it out, and set schedule.epochs; `convsmith profile` measures a step.",
        )
    if devices > 1 and world.size == 1 and observers:
        raise ConvsmithError(
            "observers go with one process",
            f"--devices {devices} trains in processes of their own, which cannot call them",
            "Leave them out: metrics.jsonl, TensorBoard and --tracker follow the training. Or let torchrun start this "
            "script.",
        )
    if devices > 1 and world.size > 1 and (not world.placed or devices != world.local_size):
        raise ConvsmithError(
            f"--devices {devices} starts processes, but a launcher has started {world.size} already",
            "the environment says so (RANK and WORLD_SIZE, or those of mpirun or srun)",
            "Leave out --devices; for several processes on each machine, let torchrun start them.",
        )


def _train_in_processes(
    recipe: Recipe | str | Path,
    data: str | None,
    out: str | Path | None,
    overrides: Sequence[str],
    *,
    devices: int,
    shard: bool,
    options: dict[str, object],
) -> Run:
    """Run `convsmith train` in so many processes."""
    from convsmith.analyze.chosen import run_directory
    from convsmith.training.run import Run

    if out is None:
        alone = not isinstance(recipe, Recipe) and _is_data(recipe)
        out = run_directory(Path(str(recipe))) if alone else runs_folder() / name_of(recipe)
    options = {"--data": data, "--out": out, "--devices": devices, **options}
    given = [f"{name}={value}" for name, value in options.items() if value is not None]
    with _on_disk(recipe, overrides, Run(Path(out))) as words:
        arguments = ["train", *given, *(["--shard"] if shard else []), "--", *words]
        restarts = options["--max-restarts"]
        assert isinstance(restarts, int)
        launch(arguments, devices, threads_of_each(devices), restarts)
    return Run(Path(out))


@contextmanager
def _on_disk(recipe: Recipe | str | Path, overrides: Sequence[str], run: Run) -> Iterator[list[str]]:
    """The recipe, and its changes, as words that another process understands."""
    if not isinstance(recipe, Recipe):
        yield [str(recipe), *overrides]
        return
    from convsmith.training.settle import settled

    begun = run.recipe if holds_run(run.path) else None
    with TemporaryDirectory(prefix="convsmith-") as folder:
        file = Path(folder) / "recipe.yaml"
        file.write_text(recipe_to_yaml(settled(as_recipe(recipe, overrides), begun)), encoding="utf-8")
        yield [str(file)]


def _is_data(given: str | Path) -> bool:
    """Whether it is a folder, or a file of data, and not the name of a recipe, which counts first; a path is none."""
    from convsmith.data.source import is_known
    from convsmith.recipe.packaged import list_recipes

    return str(given) not in list_recipes() and (Path(given).is_dir() or is_known(Path(given)))


def _refuse_what_is_no_recipe(given: str) -> None:
    """Raise a ConvsmithError for an address, or a file of a kind that images come in."""
    from convsmith.data.folders.remedies import refuse_what_is_no_folder, remedy_for

    if "://" in given or remedy_for([Path(given).suffix.lower()]):
        refuse_what_is_no_folder(Path(given))
