"""Checks that a run starts, and goes on, from the weights, the teacher and the function of yours that it is of."""

from __future__ import annotations

import logging
from contextlib import nullcontext, suppress

from convsmith.bundle.task import find_task
from convsmith.data.augment.custom import custom_digest, try_custom
from convsmith.errors import ConvsmithError
from convsmith.models.weights.published import list_weights, weights
from convsmith.recipe.schema import Recipe
from convsmith.tasks.teacher import teacher_digest
from convsmith.training.run_weights import start_digest
from convsmith.training.session import Session

logger = logging.getLogger(__name__)


def check_kept_weights(recipe: Recipe) -> None:
    """Raise a ConvsmithError if a run without steps would end with random weights; warn if it sees images otherwise."""
    given = recipe.model.weights
    if given is None:
        raise ConvsmithError(
            "schedule.epochs is 0 and model.weights null, so the run would end with random weights",
            fix="Set schedule.epochs, or the weights to keep with model.weights or --finetune.",
        )
    published = weights(given).preprocessing if given in list_weights() else None
    if published not in (None, recipe.preprocess):
        logger.warning(
            "%s was measured with another `preprocess` than the recipe's: `convsmith weights %s` shows it", given, given
        )


def check_start(session: Session) -> None:
    """Take note of the weights to start from, or raise a ConvsmithError if the run began with others of that name.

    One that has begun needs them no more, so they may be gone.
    """
    recipe, progress = session.recipe, session.progress
    digest = start_digest(recipe)
    if progress.step == 0 and progress.best_step is None:
        progress.start_digest = digest
    elif progress.start_digest and digest not in (None, progress.start_digest):
        raise ConvsmithError(
            "model.weights are not those that this run began with",
            f"{recipe.model.weights} has changed since",
            "Put them back to go on, or start a new run in another directory with --out.",
        )


def check_teacher(session: Session, finished: bool) -> None:
    """Take note of the teacher's file, or raise a ConvsmithError if it is not the one that the run began with.

    A run that is finished needs it no more, so it may be gone.
    """
    recipe, progress = session.recipe, session.progress
    if recipe.distillation is None:
        return
    digest = None
    with suppress(ConvsmithError) if finished else nullcontext():
        digest = teacher_digest(recipe.distillation.teacher)
    if finished and digest is None:
        return
    if progress.step and progress.teacher_digest != digest:
        raise ConvsmithError(
            "distillation.teacher is not the one that this run began with",
            "its file has changed since",
            "Put the file back to go on, or start a new run in another directory with --out.",
        )
    progress.teacher_digest = digest


def check_custom(session: Session) -> None:
    """Try the recipe's own function of augmentation, and warn if the run began with another one of that name.

    Raises:
        CustomFailed: it cannot be used.
    """
    recipe, progress = session.recipe, session.progress
    name = recipe.augment.custom
    if name is None:
        return
    try_custom(name, recipe.augment.size, find_task(recipe.task).own_classes, recipe.data.channels)
    digest = custom_digest(name)
    if progress.custom_digest not in (None, digest):
        logger.warning("augment.custom: the source of %s has changed since step %d: it augments as it is now",
                       name, progress.step)  # fmt: skip
    progress.custom_digest = digest
