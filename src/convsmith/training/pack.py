"""The end of a run: its weights as a bundle."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.task import find_task
from convsmith.data.dataset import DataSet, Split
from convsmith.deploy.parity import images_to_compare
from convsmith.errors import ConvsmithError
from convsmith.models.base import VisionModel
from convsmith.recipe.schema import Recipe
from convsmith.training.checkpoints.checkpoint import read_checkpoint, step_folder
from convsmith.training.model_plan import build_model
from convsmith.training.run_weights import judged_weights
from convsmith.training.session import Session
from convsmith.training.settle import weights_origin
from convsmith.training.torch_state import torch_state_kept

logger = logging.getLogger(__name__)


def pack(session: Session) -> None:
    """Write the bundle of the best epoch's weights, the last one's without validation; averaged where those count."""
    from convsmith.deploy.bundle import make_bundle  # with the exporter, which most processes of a training do not need
    from convsmith.deploy.reference import add_reference

    recipe, dataset, run, progress = session.recipe, session.dataset, session.run, session.progress
    assert progress.best is not None
    assert progress.best_step is not None
    model = trained_model(recipe, step_folder(run.checkpoints, progress.best_step))
    logger.info("packing step %d into %s", progress.best_step, run.bundle)
    origin = None
    with suppress(ConvsmithError):  # a library that is missing now takes no bundle away
        origin = weights_origin(recipe)
    if origin and origin.is_restricted:
        logger.warning(
            "the training began with the weights %s, whose licence is %s: it may forbid what this bundle is for",
            origin.name, origin.licence,
        )  # fmt: skip
    make_bundle(
        run.bundle,
        model,
        recipe,
        labels=dataset.classes,
        colours=dataset.colours,
        metrics=progress.best,
        data_digest=progress.data_digest,
        images=_parity_images(recipe, dataset),
        began_with={"name": origin.name, "licence": origin.licence} if origin else None,
        tuned=progress.best_tuned,
    )
    if "reference" not in progress.best_tuned:  # without a validation, or after one of an earlier convsmith
        read = dataset.validation_reader("val", recipe.preprocess)
        add_reference(run.bundle, lambda number: read(number)[0].numpy(), len(dataset.val))


@torch_state_kept()  # the weights that are drawn first are all replaced
def trained_model(recipe: Recipe, step: Path) -> VisionModel:
    """The recipe's model with the weights of a step of its checkpoints that are judged and shipped.

    Raises:
        ConvsmithError: the checkpoint is damaged or missing.
    """
    model = build_model(recipe)
    model.load_state_dict(read_checkpoint(step).tensors[judged_weights(recipe, step)])
    return model


def _parity_images(recipe: Recipe, dataset: DataSet) -> Iterator[Tensor]:
    """Inputs of the model from validation images, or from training ones without those, evenly of all.

    uint8 [1, C, H, W] each; where images are segmented, resized and through a window as when they are judged.
    """
    split: Split = "val" if len(dataset.val) else "train"
    samples = dataset.val if split == "val" else dataset.train
    read = dataset.validation_reader(split, recipe.preprocess)
    count = min(images_to_compare(recipe.task, recipe.input_size), len(samples))
    task = find_task(recipe.task)
    for i in range(count):
        try:
            image, _ = read(i * len(samples) // count)
            seen = task.first_input(image.numpy(), recipe.preprocess, len(dataset.classes))
        except ImageError:  # skipped in training too
            continue
        yield torch.from_numpy(seen)[None]
