"""Keys that do nothing beside the other keys of a recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from convsmith.errors import ConvsmithError
from convsmith.recipe.layers import COMMAND_LINE
from convsmith.recipe.objective import BinaryCrossEntropy
from convsmith.recipe.optimization import Constant, OneCycle
from convsmith.recipe.schema import Recipe
from convsmith.spec import WholeImage


def refuse_idle(recipe: Recipe, origins: Mapping[str, str]) -> None:
    """Refuse keys of the command line that do nothing beside the others.

    What a recipe inherits passes: whoever takes the warmup away need not take away its keys, too.

    Args:
        recipe: the checked recipe.
        origins: by dotted path, where a value came from.

    Raises:
        ConvsmithError: it names each such key, and why it does nothing.
    """
    found = [f"`{path}` does nothing: {why}" for path, why in idle_keys(recipe) if origins.get(path) == COMMAND_LINE]
    if found:
        raise ConvsmithError(
            f"{COMMAND_LINE}: " + "\n  ".join(found), fix="Leave it out, or set the other key as well."
        )


def idle_keys(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """The keys that do nothing, each with the reason; those that have their default aside."""
    for path, why in _idle(recipe):
        section, key = recipe, path
        while "." in key:
            name, _, key = key.partition(".")
            section = getattr(section, name)
        if getattr(section, key) != type(section).model_fields[key].get_default(call_default_factory=True):
            yield path, why


def _idle(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Whether or not they have their default."""
    if recipe.optimizer.lr_scaling == "none":
        yield "optimizer.lr_batch", "optimizer.lr_scaling is none"
    yield from _of_schedule(recipe)
    if recipe.mixing and not (recipe.mixing.mixup_alpha and recipe.mixing.cutmix_alpha):
        yield "mixing.switch_probability", "mixing.mixup_alpha and mixing.cutmix_alpha are not both above 0"
    loss = recipe.loss
    if isinstance(loss, BinaryCrossEntropy) and recipe.mixing is None and not loss.label_smoothing:
        yield "loss.threshold", "labels are 0 and 1 where they are neither mixed nor smoothed"
    if not recipe.eval:
        for key in ("eval_every", "metric"):
            yield key, "eval is false"
        if recipe.data.masks is None or recipe.data.masks.val is None:
            yield "data.val_fraction", "eval is false, so nothing is held out"
    if recipe.data.folds is not None:
        yield "data.val_fraction", "data.folds says what is held out"
    if recipe.data.on_error == "error":
        yield "data.max_bad", "data.on_error is error"
    masks = recipe.data.masks
    if masks is not None and getattr(recipe.schedule, "extra", None) is None:
        yield "data.masks.extra", "schedule.extra is null, so there are no extra epochs"
    if isinstance(recipe.preprocess, WholeImage):
        yield from _of_whole_images(recipe, recipe.preprocess)


def _of_schedule(recipe: Recipe) -> Iterator[tuple[str, str]]:
    schedule = recipe.schedule
    if isinstance(schedule, OneCycle):
        return
    if not schedule.warmup_epochs and schedule.warmup_steps is None:
        for key in ("warmup", "warmup_lr", "warmup_reaches_lr"):
            yield f"schedule.{key}", "schedule.warmup_epochs is 0 and schedule.warmup_steps null"
        if isinstance(schedule, Constant) and schedule.extra is None:
            for key in ("by", "shift"):
                yield f"schedule.{key}", "the learning rate is the same at every step"
    elif schedule.warmup == "constant":
        yield "schedule.warmup_reaches_lr", "schedule.warmup is constant"


def _of_whole_images(recipe: Recipe, preprocess: WholeImage) -> Iterator[tuple[str, str]]:
    if preprocess.base_size is None and set(preprocess.scales) == {1.0}:
        yield "preprocess.align_corners", "nothing is resized: preprocess.base_size is null and scales is [1]"
    if not (preprocess.flip or recipe.augment.hflip or recipe.augment.vflip):
        yield "preprocess.mirrored_classes", "preprocess.flip is false, and augment.hflip and vflip are 0"
    window = preprocess.window
    if window and window.above_scale < min(preprocess.scales):
        yield "preprocess.window.above_scale", f"all of preprocess.scales are above {window.above_scale:g}"
