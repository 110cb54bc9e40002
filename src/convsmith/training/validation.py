"""Judging what is in training by the validation images, with all processes."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from convsmith.data.loading.loader import Batch
from convsmith.errors import ConvsmithError
from convsmith.recipe.better import is_better
from convsmith.tasks.base import ValidationResults
from convsmith.training.checkpoints.checkpoint import read_checkpoint, step_folder
from convsmith.training.divergence import Diverged
from convsmith.training.evaluation import NotFinite, evaluate
from convsmith.training.parallel.distributed import broadcast, gather, rest_before_fork
from convsmith.training.parts import Parts
from convsmith.training.precision import Precision
from convsmith.training.run_weights import judged_weights
from convsmith.training.session import Session
from convsmith.training.stepper import Stepper

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Validated:
    """The results of a validation.

    Attributes:
        figures: the metrics, by name.
        tuned: keys of the bundle that the answers decide, see `ValidationResults.tuned`.
        results: what they are of; None where nothing is judged.
        precision: arithmetic of the model.
    """

    figures: dict[str, float] = field(default_factory=dict)
    tuned: dict[str, Any] = field(default_factory=dict)
    results: ValidationResults | None = None
    precision: Precision = "fp32"


def validate(session: Session, parts: Parts, stepper: Stepper) -> Validated | None:
    """The figures of what the recipe judges; of both, all of them by name besides those of the better one.

    Returns:
        The same in all processes, or None when a stop request came.

    Raises:
        Diverged: an answer, or the loss, is not finite.
    """
    ema, kept = stepper.ema, session.recipe.ema
    if ema is None or kept is None or kept.judge == "model":
        return _validate_model(session, parts, stepper, parts.model)
    averaged = _validate_model(session, parts, stepper, ema.model)
    if averaged is None or kept.judge == "ema":
        return averaged
    trained = _validate_model(session, parts, stepper, parts.model)
    if trained is None:
        return None
    metric = session.recipe.metric
    figures = {"model": trained.figures, "ema": averaged.figures}
    better = session.progress.judged = "model" if is_better(metric, figures["model"], figures["ema"]) else "ema"
    own, average = (figures[name][metric] for name in ("model", "ema"))
    logger.info(
        "judged by %s: the %s better (trained weights %.4f, their average %.4f)",
        metric, "trained weights are" if better == "model" else "average is", own, average,
    )  # fmt: skip
    each = {f"{name}_{figure}": value for name, values in figures.items() for figure, value in values.items()}
    return replace(trained if better == "model" else averaged, figures={**figures[better], **each})


def judge_best_again(session: Session, parts: Parts, stepper: Stepper) -> Validated | None:
    """The figures of the weights of the best step, whose checkpoint is written; None when a stop request came."""
    recipe, progress, world = session.recipe, session.progress, session.world
    assert progress.best is not None
    assert progress.best_step is not None
    found = None
    if world.leads:  # the others may not see the run directory
        step = step_folder(session.run.checkpoints, progress.best_step)
        name = judged_weights(recipe, step)
        found = name, read_checkpoint(step).tensors[name]
    name, weights = broadcast(world, found) or ("", {})
    with _with_weights(parts.model, weights):
        again = _validate_model(session, parts, stepper, parts.model)
    if again is None:
        return None
    logger.info(
        "the best so far, of step %d: %s %.4f in %s, %.4f in %s",
        progress.best_step, recipe.metric, again.figures[recipe.metric], again.precision,
        progress.best[recipe.metric], progress.best_precision,
    )  # fmt: skip
    own = {f"{name}_{figure}": value for figure, value in again.figures.items()}  # beside those of the other weights
    own = {key: value for key, value in own.items() if key in progress.best}
    return replace(again, figures={**progress.best, **again.figures, **own})


@contextmanager
def _with_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Let a model have other weights while the block runs."""
    own = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(weights)
    try:
        yield
    finally:
        model.load_state_dict(own)


def _validate_model(session: Session, parts: Parts, stepper: Stepper, model: nn.Module) -> Validated | None:
    """The metrics of one model; see `validate`."""
    world, total, seen = session.world, len(session.dataset.val), 0

    def after_batch(batch: Batch) -> None:
        nonlocal seen
        session.record_bad_files(batch)
        seen += batch.samples
        session.tell("evaluate", min(seen * world.size, total), total)

    results, wrong = None, None
    with stepper.whole(model):
        rest_before_fork(world)
        try:
            results = evaluate(parts, model, parts.val, after_batch=after_batch, stopping=lambda: session.poll.asked)
        except NotFinite as error:
            wrong = error
    if found := [it for it in gather(world, wrong) if it is not None]:
        raise _diverged(session, "a logit", found[0].layer)
    if not all(gather(world, results is not None)):
        session.poll.now()
        return None
    assert results is not None
    results, *others = gather(world, results)
    for other in others:
        results.merge(other)
    values = results.compute()
    if math.isnan(values[session.recipe.metric]):
        raise ConvsmithError("no validation image can be read", fix="Repair or replace them.")
    if not all(map(math.isfinite, values.values())):
        raise _diverged(session, "the loss")
    return Validated(values, results.tuned(), results, parts.eval_precision)


def _diverged(session: Session, what: str, layer: str | None = None) -> ConvsmithError:
    """The error of figures that mean nothing; checkpoints since the last validation may be as bad."""
    step, every, epochs = session.progress.step, session.recipe.eval_every, session.plan.epochs
    if step == 0:
        where = f"; the first layer with values that are not finite is `{layer}`" if layer else ""
        return ConvsmithError(
            f"{what} of validation images is not a finite number",
            f"the weights are not those of a model that works{where}",
            "Check model.weights, and whether they belong to this model.",
        )
    before = (epochs.at(step)[0] - 1) // every * every
    return Diverged(
        f"{what} of validation images is not a finite number after step {step}",
        layer,
        sound_until=epochs.total_steps(before),
    )
