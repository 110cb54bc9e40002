"""Going on from a checkpoint that the user names, in place of the newest."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from convsmith.bundle.format import holds_run
from convsmith.errors import ConvsmithError
from convsmith.recipe.plan import Plan
from convsmith.recipe.schema import Recipe
from convsmith.storage import new_directory
from convsmith.training.checkpoints.checkpoint import Checkpoint, latest_checkpoint, read_checkpoint, step_folder
from convsmith.training.run import Run

logger = logging.getLogger(__name__)


def named_checkpoint(run: Run, recipe: Recipe, plan: Plan, place: Path) -> Checkpoint | None:
    """Go back to a checkpoint of the run, or let a new run begin with one of another run of the same recipe.

    Going back, later checkpoints are set aside, and a bundle becomes `bundle-before-resume`. A run that has begun with
    another's checkpoint goes on with its own.

    Args:
        run: where the training goes on.
        recipe: of the training.
        plan: likewise.
        place: the checkpoint's folder, or a link to it such as `last` and `best`.

    Raises:
        ConvsmithError: it is not a checkpoint in the directory of a run of this recipe, or it is damaged.
    """
    step = place.resolve()
    source = Run(step.parent.parent)
    if not (step / "state.json").is_file() or not holds_run(source.path):
        known = sorted(path.name for path in run.checkpoints.glob("*") if (path / "state.json").is_file())
        raise ConvsmithError(
            f"--resume {place} is not a checkpoint of a run",
            "it is the folder of one, below `checkpoints` in the run's directory, or `auto` or `never`",
            f"{run.checkpoints} has {', '.join(known)}." if known else "",
        )
    source.check_same(recipe, plan)
    if source.path.resolve() == run.path.resolve():
        checkpoint = read_checkpoint(step)
        run.set_bundle_aside("bundle-before-resume")
        logger.info("going back to %s; without --resume, the same command goes on from there", step.name)
        return _with_best_here(run, checkpoint)
    if run.has_begun:
        logger.info("%s has begun with a checkpoint, and goes on with its own", run.path)
        run.check_same(recipe, plan)
        return latest_checkpoint(run.checkpoints)
    checkpoint = read_checkpoint(step)
    best = checkpoint.state.get("best_step")
    if best is not None and step_folder(source.checkpoints, best).is_dir():
        _copy(step_folder(source.checkpoints, best), run)
    if (source.path / "metrics.jsonl").is_file():
        shutil.copy(source.path / "metrics.jsonl", run.path)
    _copy(step, run)
    return _with_best_here(run, read_checkpoint(run.checkpoints / step.name))


def _copy(step: Path, run: Run) -> None:
    with new_directory(run.checkpoints / step.name) as folder:
        shutil.copytree(step, folder, dirs_exist_ok=True)


def _with_best_here(run: Run, checkpoint: Checkpoint) -> Checkpoint:
    """Forget the best epoch so far where its weights are no longer here."""
    best = checkpoint.state.get("best_step")
    if best is not None and not step_folder(run.checkpoints, best).is_dir():
        logger.warning("the weights of the best step so far, %d, are not here any more: later ones count", best)
        checkpoint.state.update(best=None, best_step=None, best_tuned={})
    return checkpoint
